/** What Mayfly is there for, done all the time, while somebody else does something to it: every call has to succeed. */
import { Agent, request as httpRequest } from 'node:http';
import { inspect } from 'node:util';
import type { AgentApi } from '@mayfly/stack';
import { agentClaims, openSession, personClaims, type WholeStack } from '@mayfly/testing';

export const kinds = ['open a session', 'mint', 'give back', 'revoke', 'heartbeat', 'upload'] as const;
export type Kind = (typeof kinds)[number];

export interface Done {
  /** How long each call took, in milliseconds. */
  readonly took: Readonly<Record<Kind, readonly number[]>>;
  /** What failed, with what it said. */
  readonly failed: readonly string[];
}

/** How often a session that has to be heard of is, in milliseconds; it ends when it is not for ten seconds. */
const beatEveryMs = 300;
const credential = 'reports-api/read';

export interface HonestWork {
  /** Until now; what follows is counted anew. */
  take(): Done;
  /** Ends what is under way. */
  stop(): Promise<void>;
  /** Whose leases die if it goes unheard. */
  readonly beating: AgentApi;
}

/** A document of half a megabyte, over a line that takes half a second for it; whether it is accepted is another matter. */
const uploadChunks = 8;
const uploadPauseMs = 60;

/** On a connection on which somebody has been let in. */
async function upload(gatewayUrl: string, token: string, agent: Agent): Promise<void> {
  const ask = (method: string, path: string, body: Buffer): Promise<number> =>
    new Promise((resolve, reject) => {
      const outgoing = httpRequest(`${gatewayUrl}${path}`, {
        method,
        agent,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body.length === 0 ? {} : { 'content-type': 'application/json', 'content-length': body.length }),
        },
      });
      outgoing.once('error', reject);
      outgoing.once('response', (incoming) => {
        incoming.resume().once('end', () => resolve(incoming.statusCode ?? 0));
      });
      const size = Math.ceil(body.length / uploadChunks);
      const send = (from: number): void => {
        const next = from + size;
        if (next >= body.length) outgoing.end(body.subarray(from));
        else outgoing.write(body.subarray(from, next), () => setTimeout(send, uploadPauseMs, next));
      };
      send(0);
    });
  const known = await ask('GET', '/v1/leases?limit=1', Buffer.alloc(0));
  const document = `# ${'x'.repeat(500_000)}`;
  const status = await ask('PUT', '/v1/config', Buffer.from(JSON.stringify({ document, dry_run: true })));
  if (known !== 200 || status === 408 || status === 429 || status >= 500)
    throw new Error(`an upload was answered with ${String(known)} and ${String(status)}`);
}

/** Begins to work, in five loops that never wait for each other. */
export async function beginHonestWork(
  stack: Pick<WholeStack, 'dataDirectory' | 'gatewayUrl'>,
  { uploads = true }: { readonly uploads?: boolean } = {},
): Promise<HonestWork> {
  const [giving, losing, beating, administrator] = await Promise.all([
    openSession(stack),
    openSession(stack),
    openSession(stack, agentClaims(), { heartbeatSeconds: 10 }),
    openSession(stack, personClaims(['administrators'])),
  ]);
  const uploading = new Agent({ keepAlive: true, maxSockets: 1 });
  let done = nothingDone();
  let isStopped = false;
  const timed = async <Result>(kind: Kind, call: () => Promise<Result>): Promise<Result> => {
    const started = performance.now();
    try {
      return await call();
    } catch (error) {
      done.failed.push(`${kind}: ${inspect(error, { depth: 2 })}`);
      throw error;
    } finally {
      done.took[kind].push(performance.now() - started);
    }
  };
  const loop = async (round: () => Promise<void>): Promise<void> => {
    // What failed is told; one failure must not hide the next.
    while (!isStopped) await round().catch(() => undefined);
  };
  const loops = [
    loop(async () => {
      const { lease_id } = await timed('mint', () => giving.lease(credential));
      await timed('give back', () => giving.giveBack(lease_id));
    }),
    loop(async () => {
      const { lease_id } = await timed('mint', () => losing.lease(credential));
      const subject = { kind: 'lease', id: lease_id };
      await timed('revoke', () => administrator.call('POST', '/v1/revocations', { subject, reason: 'x' }));
    }),
    loop(async () => {
      await timed('heartbeat', () => beating.call('POST', '/v1/sessions/heartbeat', {}));
      await new Promise((resolve) => setTimeout(resolve, beatEveryMs));
    }),
    loop(async () => {
      if (!uploads) return new Promise((resolve) => setTimeout(resolve, beatEveryMs));
      await timed('upload', () => upload(stack.gatewayUrl, administrator.sessionToken, uploading));
      await new Promise((resolve) => setTimeout(resolve, beatEveryMs));
    }),
    loop(async () => {
      await timed('open a session', () => openSession(stack));
      await new Promise((resolve) => setTimeout(resolve, beatEveryMs));
    }),
  ];
  return {
    beating,
    take: () => {
      const taken = done;
      done = nothingDone();
      return taken;
    },
    stop: async () => {
      isStopped = true;
      await Promise.all(loops);
      uploading.destroy();
    },
  };
}

function nothingDone(): { took: Record<Kind, number[]>; failed: string[] } {
  return {
    took: { 'open a session': [], mint: [], 'give back': [], revoke: [], heartbeat: [], upload: [] },
    failed: [],
  };
}

/** The value below which this part of them lies; of none, 0. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
}
