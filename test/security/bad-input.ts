/** How the specs of I12 send what no client would send, and what they take for a clear refusal. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { expect } from '@jest/globals';
import { OAuthError, Problem } from '@mayfly/contracts';

/** An answer, and how long it took in milliseconds. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly ms: number;
}

export interface Sent {
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream is sent in chunks, without a Content-Length. */
  readonly body?: string | Buffer | Readable;
}

/** No single bad request may take longer, on a machine that does other things too. */
const boundMs = 5_000;

/** Sends on a connection of its own. A server that answers before it has read everything is heard all the same. */
export function send(gatewayUrl: string, method: string, path: string, sent: Sent = {}): Promise<Answer> {
  const started = performance.now();
  const { hostname, port } = new URL(gatewayUrl);
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { hostname, port, method, path, agent: false, headers: sent.headers ?? {} },
      (response) => {
        const chunks: Buffer[] = [];
        const done = () => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString('utf8'),
            ms: performance.now() - started,
          });
          outgoing.destroy();
        };
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', done).on('error', done);
      },
    );
    outgoing.on('error', reject);
    outgoing.setTimeout(boundMs, () => outgoing.destroy(new Error(`${method} ${path} was not answered`)));
    if (sent.body instanceof Readable) {
      sent.body.on('error', () => undefined);
      sent.body.pipe(outgoing);
    } else outgoing.end(sent.body);
  });
}

/** Writes bytes to a socket and reads until the server closes it; then or at the deadline it resolves with what came. */
export function sendBytes(
  gatewayUrl: string,
  bytes: string | Buffer,
  deadlineMs = boundMs,
): Promise<{ text: string; closed: boolean; ms: number }> {
  const started = performance.now();
  const { hostname, port } = new URL(gatewayUrl);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const chunks: Buffer[] = [];
    const finish = (closed: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ text: Buffer.concat(chunks).toString('latin1'), closed, ms: performance.now() - started });
    };
    const timer = setTimeout(() => finish(false), deadlineMs);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', () => undefined).on('close', () => finish(true));
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  });
}

/** What an attacker writes as a value holds this word, so that an answer that repeats it is noticed. */
export const canary = 'zq7canary';
/** The same for names of fields, which an answer does repeat, so that the asker finds the mistake. */
export const unknownField = 'zq7field';

/** An answer without what was asked for, where it is right to repeat that, as in "no credential x". */
export function without(answer: Answer, asked: string): Answer {
  return { ...answer, text: answer.text.replaceAll(JSON.stringify(asked).slice(1, -1), '<asked>') };
}

/** Stack traces, file names, and words of what lies behind the gateway. */
const inner =
  /\bat \S+ \(|\.[cm]?[jt]s:\d+|node_modules|node:internal|\/(?:work|tmp|usr|home|root)\/|Exception|fastify|\bFST_|nestjs|\bzod|nats|jetstream|syntax error|relation "|column "|SELECT |duplicate key|ECONN|HPE_|(?:Type|Range|Syntax|Reference)Error/i;

/** Checks that an answer is a clear refusal: a 4xx in the form of its endpoint, that tells nothing of the inside, in bounded time. */
export function expectRefusal(
  what: string,
  answer: Pick<Answer, 'status' | 'headers' | 'text' | 'ms'>,
  ...statuses: readonly number[]
): void {
  const told = { what, status: answer.status, text: answer.text.slice(0, 500) };
  const allowed = statuses.length > 0 ? statuses : clientErrors;
  if (!allowed.includes(answer.status))
    throw new Error(`Not refused as it should be: ${JSON.stringify(told)}`);
  const body: unknown = JSON.parse(answer.text);
  const isOAuth = typeof body === 'object' && body !== null && 'error' in body;
  expect({ ...told, form: (isOAuth ? OAuthError : Problem).safeParse(body).success }).toEqual({
    ...told,
    form: true,
  });
  if (!isOAuth) expect(String(answer.headers['content-type'])).toContain('application/problem+json');
  expect({ ...told, tells: inner.exec(answer.text)?.[0] }).toEqual({ ...told, tells: undefined });
  expect({ ...told, repeats: answer.text.includes(canary) }).toEqual({ ...told, repeats: false });
  expect(answer.text.length).toBeLessThan(2_000);
  expect({ ...told, slow: answer.ms > boundMs }).toEqual({ ...told, slow: false });
}

/** Those that say that the request is at fault. 408 is a timeout's. */
const clientErrors = [400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 417, 422, 429, 431];

/** The first answer in what came over a socket, and how many there were. */
export function answersIn(raw: { text: string; ms: number }): Answer & { count: number } {
  const [head = '', ...rest] = raw.text.split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const length = Number(headers['content-length'] ?? Infinity);
  return {
    status: Number(statusLine.split(' ')[1] ?? 0),
    headers,
    text: rest.join('\r\n\r\n').slice(0, length),
    ms: raw.ms,
    count: raw.text.split('HTTP/1.1 ').length - 1,
  };
}

/** Statements that would show, had anything run them. */
export const sqlTexts = [
  `${canary}'; DROP SCHEMA revocation CASCADE; --`,
  `${canary}' OR '1'='1`,
  `${canary}"; DROP TABLE policy.sessions; --`,
  `1); SELECT pg_sleep(30); -- ${canary}`,
  `$$; SELECT pg_terminate_backend(pid) FROM pg_stat_activity; $$ ${canary}`,
  `\\'; DELETE FROM audit.events; -- ${canary}`,
  `%s %n \${jndi:ldap://x} {{7*7}} ${canary}`,
];

/** Text that some part behind the gateway could not store, print or tell apart. */
export const unstorableTexts = [
  `a\u0000${canary}`,
  `a\ud800${canary}`,
  `\udc00${canary}`,
  `${canary}\r\nset-cookie: a=b`,
  `${canary}\u001b[31m`,
  `${canary}\u007f`,
];
