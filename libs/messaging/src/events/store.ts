/** One acknowledged message to a stream. */
import { MayflyError } from '@mayfly/contracts';
import type { MsgHdrs, NatsConnection } from '@nats-io/transport-node';
import { request } from '../request.ts';
import { parseJson } from '../rpc/wire.ts';
import type { StreamName } from '../topology.ts';

/** JetStream's answer to a message that the stream's limits forbid (`JSStreamStoreFailedF`). */
const storeFailed = 10077;

/** Publishes and waits for the acknowledgement of just this stream. */
export async function store(
  connection: NatsConnection,
  stream: StreamName,
  subject: string,
  payload: string | Uint8Array,
  options: { headers: MsgHdrs; timeoutMs: number },
): Promise<{ duplicate: boolean }> {
  options.headers.set('Nats-Expected-Stream', stream);
  const reply = await request(connection, subject, payload, {
    what: 'the event log',
    timeoutMs: options.timeoutMs,
    headers: options.headers,
  });
  let answer: unknown;
  try {
    answer = parseJson(reply.data);
  } catch (cause) {
    throw new MayflyError('dependency_unavailable', 'the event log gave an answer that cannot be read', {
      cause,
    });
  }
  const ack = answer as { stream?: unknown; duplicate?: unknown; error?: { err_code?: unknown } } | null;
  if (ack?.error === undefined && ack?.stream === stream) return { duplicate: ack.duplicate === true };
  const full = ack?.error?.err_code === storeFailed;
  throw new MayflyError(
    'dependency_unavailable',
    full ? 'the event log is full' : 'the event log refused the event',
    { cause: ack?.error },
  );
}
