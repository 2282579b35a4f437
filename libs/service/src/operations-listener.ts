/**
 * Where every service tells of itself: `/healthz` (alive), `/readyz` (may take work), `/metrics` (Prometheus). A listener of its own,
 * on loopback unless it is told otherwise: what probes and scrapers learn is not for strangers, and what strangers do to the API keeps
 * no probe out.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import type { Readiness } from './readiness.ts';

export interface OperationsOptions {
  /** 0 takes any free one. */
  readonly port: number;
  readonly bind: string;
  readonly readiness: Readiness;
  readonly metrics: Registry;
}

export interface OperationsListener {
  readonly url: string;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

const json = (status: number, body: object): Answer => ({
  status,
  type: 'application/json; charset=utf-8',
  body: JSON.stringify(body),
});

/** Most probes and scrapes at the same time, and how long one may take to be sent and to be read, in milliseconds. */
const mostConnections = 64;
const requestTimeoutMs = 5_000;
const answerTimeoutMs = 30_000;

/** Starts to listen; resolves when it does. */
export async function listenForOperations(options: OperationsOptions): Promise<OperationsListener> {
  const { readiness, metrics } = options;
  const pages: Readonly<Record<string, () => Promise<Answer>>> = {
    '/healthz': () => Promise.resolve(json(200, { status: 'ok' })),
    '/readyz': oneAtATime(async () => {
      const { ready, checks } = await readiness.check();
      return ready ? json(200, { status: 'ready', checks }) : json(503, { status: 'not ready', checks });
    }),
    '/metrics': oneAtATime(async () => ({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      body: await metrics.metrics(),
    })),
  };
  const server = createServer(
    {
      maxHeaderSize: 8_192,
      headersTimeout: requestTimeoutMs,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => void answer(request, response, pages),
  );
  server.maxConnections = mostConnections;
  server.setTimeout(answerTimeoutMs);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port, options.bind, resolve);
  });
  return {
    url: urlOf(server, options.bind),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** `http://<bind>:<port>` of a server that listens. */
export function urlOf(server: Pick<Server, 'address'>, bind: string): string {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return `http://${bind.includes(':') ? `[${bind}]` : bind}:${String(port)}`;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  pages: Readonly<Record<string, () => Promise<Answer>>>,
): Promise<void> {
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  let told: Answer;
  if (page === undefined) told = json(404, { status: 'nothing here' });
  else if (!isRead) told = json(405, { status: 'GET and HEAD alone' });
  else told = await page().catch(() => json(500, { status: 'failed' }));
  response.writeHead(told.status, {
    'content-type': told.type,
    'content-length': Buffer.byteLength(told.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // Few come and seldom: no connection is kept for the next one.
    connection: 'close',
    ...(told.status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : told.body);
}

/** However many ask at the same time, the work is done once for all of them. */
function oneAtATime(work: () => Promise<Answer>): () => Promise<Answer> {
  let underWay: Promise<Answer> | undefined;
  return () =>
    (underWay ??= work().finally(() => {
      underWay = undefined;
    }));
}
