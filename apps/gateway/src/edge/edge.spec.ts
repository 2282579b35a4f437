/** The edge on a real server and real sockets; what lies behind it is made up. */
import { request, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import Fastify, { type FastifyInstance } from 'fastify';
import { Admission } from '../admission/admission.ts';
import { GatewaySettings } from '../settings.ts';
import { Edge } from './edge.ts';

const small = {
  MAYFLY_NATS_URL: 'x',
  MAYFLY_KEYS: 'x',
  MAYFLY_MAX_IN_FLIGHT: '4',
  MAYFLY_MAX_VITAL_IN_FLIGHT: '2',
  MAYFLY_MAX_UNREAD_BODIES: '16',
  MAYFLY_MAX_CONNECTIONS: '12',
  MAYFLY_MAX_CONNECTIONS_PER_SOURCE: '10',
};
const token = '/v1/token';

describe('the edge', () => {
  let gateway: FastifyInstance;
  let open: Socket[];
  let cut: string[];
  let refused: string[];
  let edge: Edge;
  /** What `POST /v1/token` waits for. */
  let work: () => Promise<unknown>;

  const start = async (more: Record<string, string> = {}) => {
    const settings = GatewaySettings.parse({ ...small, ...more });
    const admission = new Admission(settings);
    admission.onRefusal((cause) => refused.push(cause));
    edge = new Edge(settings, admission, (cause) => cut.push(cause));
    gateway = Fastify({ clientErrorHandler: (error, socket) => edge.refuseUnreadable(error, socket) });
    edge.register(gateway);
    gateway.post(token, async () => (await work()) ?? 'done');
    gateway.post('/v1/leases', () => 'minted');
    gateway.put('/v1/config', () => 'applied');
    gateway.get('/v1/leases', ({ callerAddress }) => callerAddress);
    gateway.delete('/v1/leases/:lease_id', () => 'ended');
    await gateway.listen({ port: 0, host: '127.0.0.1' });
  };
  beforeEach(() => {
    [open, cut, refused] = [[], [], []];
    work = () => Promise.resolve();
  });
  afterEach(async () => {
    for (const socket of open) socket.destroy();
    await gateway.close();
  });

  const port = () => (gateway.server.address() as AddressInfo).port;
  const dial = (localAddress: string): Socket => {
    const socket = connect({ port: port(), host: '127.0.0.1', localAddress });
    socket.on('error', () => undefined);
    open.push(socket);
    return socket;
  };
  /** A connection on which these bytes have been sent; resolves when the gateway has seen them. */
  const holding = async (localAddress: string, bytes: string): Promise<Socket> => {
    const seen = new Promise<void>((resolve) =>
      gateway.server.once(bytes === '' ? 'connection' : 'request', () => resolve()),
    );
    const socket = dial(localAddress);
    if (bytes !== '') socket.write(bytes);
    await seen;
    return socket;
  };
  const unfinished = (path = token, length = 1_000, method = 'POST') =>
    `${method} ${path} HTTP/1.1\r\nHost: m\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\nx`;
  const send = (
    localAddress: string,
    method: string,
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: Record<string, unknown>; body: string }> =>
    new Promise((resolve, reject) => {
      const sent = request({
        port: port(),
        host: '127.0.0.1',
        localAddress,
        method,
        path,
        agent: false,
        headers,
      });
      sent.on(
        'response',
        (response) =>
          void text(response).then((body) =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
          ),
      );
      sent.on('error', reject).end();
    });
  const closed = (socket: Socket) =>
    socket.closed ? Promise.resolve() : new Promise<void>((resolve) => socket.once('close', () => resolve()));

  it('takes no place for a body that is not there, whoever holds how many back', async () => {
    await start();
    for (const address of ['127.0.0.2', '127.0.0.3'])
      for (let i = 0; i < 4; i++) await holding(address, unfinished());
    for (const address of ['127.0.0.2', '127.0.0.4']) {
      expect((await send(address, 'POST', '/v1/leases')).status).toBe(200);
      expect((await send(address, 'DELETE', '/v1/leases/1')).status).toBe(200);
    }
    expect(refused).toEqual([]);
  });

  it('gives a place back when its work is done and no sooner, also when the client has gone', async () => {
    await start();
    /** Has the next work begin and not end; gives the function that ends it, once it has begun. */
    const begun = () =>
      new Promise<() => void>((resolve) => {
        work = () => new Promise<void>((finish) => resolve(finish));
      });
    const first = begun();
    const gone = dial('127.0.0.2');
    gone.write(`POST ${token} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n`);
    const finishFirst = await first;
    gone.destroy();
    await closed(gone);
    // Of four places half are for those without a session, and half of these for one address.
    expect((await send('127.0.0.2', 'POST', token)).status).toBe(429);
    finishFirst();
    const second = begun();
    const next = send('127.0.0.2', 'POST', token);
    (await second)();
    expect((await next).status).toBe(200);
  });

  it('gives a place back for an answer whose turn on its connection never came', async () => {
    await start();
    const post = (path: string) => `POST ${path} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n`;
    for (let i = 0; i < 5; i++) {
      let finish: () => void = () => undefined;
      work = () => new Promise<void>((resolve) => (finish = resolve));
      // The second is answered while the first is worked on, and waits behind it; then the connection is gone.
      const socket = await holding('127.0.0.2', post(token) + post('/v1/leases'));
      socket.destroy();
      await closed(socket);
      finish();
    }
    expect((await send('127.0.0.2', 'POST', '/v1/leases')).status).toBe(200);
    expect(refused).toEqual([]);
  });

  it('cuts off the oldest of the bodies that do not come, and tells it so', async () => {
    await start();
    const first = await holding('127.0.0.2', unfinished());
    const told = text(first);
    for (let i = 0; i < 8; i++) await holding('127.0.0.2', unfinished());
    expect(await told).toMatch(/^HTTP\/1\.1 408 /);
    expect(cut).toEqual(['source_bodies']);
  });

  it('counts a document that does not come as the memory that it may take', async () => {
    await start({ MAYFLY_MAX_UNREAD_BODIES: '28' });
    const first = await holding('127.0.0.2', unfinished('/v1/config', 900_000, 'PUT'));
    await holding('127.0.0.2', unfinished('/v1/config', 900_000, 'PUT'));
    await closed(first.resume());
    expect(cut).toEqual(['source_bodies']);
  });

  it('refuses a body that is larger than its route takes while it comes', async () => {
    await start();
    const socket = await holding('127.0.0.2', unfinished('/v1/leases', 65_537));
    const [answer] = (await new Promise<Buffer[]>((resolve) =>
      socket.once('data', (chunk: Buffer) => resolve([chunk])),
    )) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 413 /);
  });

  it('closes the oldest connection that does nothing for a new one of the same address', async () => {
    await start();
    const silent = [];
    for (let i = 0; i < 10; i++) silent.push(await holding('127.0.0.2', ''));
    expect((await send('127.0.0.2', 'GET', '/v1/leases')).status).toBe(200);
    for (const oldest of silent.slice(0, 1)) await closed(oldest);
    expect(cut).toEqual(['source_connections']);
    expect(silent.slice(1).map(({ closed: isClosed }) => isClosed)).toEqual(Array(9).fill(false));
  });

  it('closes one of the address that has the most when there are too many altogether', async () => {
    await start();
    const silent = [];
    for (let i = 0; i < 9; i++) silent.push(await holding('127.0.0.2', ''));
    for (let i = 0; i < 3; i++) await holding('127.0.0.3', '');
    expect((await send('127.0.0.4', 'GET', '/v1/leases')).status).toBe(200);
    for (const oldest of silent.slice(0, 1)) await closed(oldest);
    expect(cut).toEqual(['connections']);
  });

  it('closes none on which somebody known is served for those who have said nothing', async () => {
    await start();
    const known = dial('127.0.0.2');
    const answered = new Promise((resolve) => known.once('data', resolve));
    known.write('GET /v1/leases HTTP/1.1\r\nHost: m\r\n\r\n');
    await answered;
    for (let i = 0; i < 30; i++) await holding('127.0.0.2', '');
    expect(known.closed).toBe(false);
    expect(cut).toHaveLength(21);
    expect(edge.openConnections).toBe(10);
  });

  it('never closes one whose request is worked on, and turns away the new one instead', async () => {
    await start({ MAYFLY_MAX_CONNECTIONS_PER_SOURCE: '1' });
    let finish: () => void = () => undefined;
    work = () => new Promise<void>((resolve) => (finish = resolve));
    const working = await holding(
      '127.0.0.2',
      `POST ${token} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n`,
    );
    const answer = new Promise<Buffer>((resolve) => working.once('data', resolve));
    await closed(dial('127.0.0.2'));
    finish();
    expect((await answer).toString()).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('closes any that does nothing when every address has one and the first is at work', async () => {
    await start({ MAYFLY_MAX_CONNECTIONS: '3' });
    let finish: () => void = () => undefined;
    work = () => new Promise<void>((resolve) => (finish = resolve));
    const working = await holding(
      '127.0.0.2',
      `POST ${token} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n`,
    );
    for (const address of ['127.0.0.3', '127.0.0.4']) await holding(address, '');
    expect((await send('127.0.0.5', 'GET', '/v1/leases')).status).toBe(200);
    const answer = new Promise<Buffer>((resolve) => working.once('data', resolve));
    finish();
    expect((await answer).toString()).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('closes connections that are idle for too long, having told how long they may be', async () => {
    await start({ MAYFLY_IDLE_TIMEOUT_MS: '1' });
    const idle = dial('127.0.0.2');
    const all = text(idle);
    idle.write('GET /v1/leases HTTP/1.1\r\nHost: m\r\n\r\n');
    expect(await all).toMatch(/^keep-alive: timeout=1\r$/im);
    expect(cut).toEqual(['idle']);
  });

  it('closes a connection whose answer is not read', async () => {
    await start({ MAYFLY_ANSWER_TIMEOUT_MS: '1' });
    work = () => Promise.resolve('x'.repeat(20_000_000));
    const slow = dial('127.0.0.2');
    slow.pause();
    const gone = new Promise<void>((resolve) =>
      gateway.server.once('connection', (socket: Socket) => socket.once('close', () => resolve())),
    );
    slow.write(`POST ${token} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n`);
    await gone;
    expect(cut).toEqual(['slow_answer']);
  });

  it('closes connections whose answers are not read once they are too many bytes, the oldest first', async () => {
    await start({ MAYFLY_MAX_UNREAD_ANSWER_BYTES: String(32 * 1_048_576) });
    work = () => Promise.resolve('x'.repeat(7_000_000));
    const closed: number[] = [];
    for (const index of [0, 1, 2]) {
      const socket = dial('127.0.0.2');
      socket.pause();
      gateway.server.once('connection', (accepted: Socket) =>
        accepted.once('close', () => closed.push(index)),
      );
      const answered = new Promise<void>((resolve) =>
        gateway.server.once('request', (_, response: ServerResponse) =>
          response.once('prefinish', () => resolve()),
        ),
      );
      socket.write(`POST ${token} HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n`);
      await answered;
    }
    expect(cut).toEqual(['unread_answers']);
    expect((await send('127.0.0.2', 'POST', '/v1/leases')).status).toBe(200);
    expect(closed).toEqual([0]);
  });

  it('counts callers behind a trusted proxy by their own addresses, and its connections altogether only', async () => {
    await start({ MAYFLY_TRUSTED_PROXIES: '127.0.0.2', MAYFLY_SOURCE_RATE: '1', MAYFLY_SOURCE_BURST: '1' });
    for (let i = 0; i < 11; i++) await holding('127.0.0.2', '');
    expect(cut).toEqual([]);
    const from = (address: string) => send('127.0.0.2', 'GET', '/v1/leases', { 'x-forwarded-for': address });
    expect(await from('[2001:DB8::1]:4711')).toMatchObject({ status: 200, body: '2001:db8::1' });
    expect((await from('2001:db8::2')).status).toBe(429);
    expect(await from('203.0.113.7:80')).toMatchObject({ status: 200, body: '203.0.113.7' });
    expect(await from('unknown')).toMatchObject({ status: 400 });
    expect((await from('203.0.113.8')).headers['keep-alive']).not.toBe('timeout=10');
  });

  it('answers a known path and another method with what there is', async () => {
    await start();
    const patched = await send('127.0.0.2', 'PATCH', '/v1/leases/1');
    expect([patched.status, patched.headers['allow']]).toEqual([405, 'GET, HEAD, DELETE, OPTIONS']);
    expect(JSON.parse(patched.body)).toMatchObject({ code: 'invalid_request', status: 405 });
    const got = await send('127.0.0.2', 'GET', token);
    expect([got.status, got.headers['allow'], (JSON.parse(got.body) as { error: string }).error]).toEqual([
      405,
      'POST, OPTIONS',
      'invalid_request',
    ]);
    const asked = await send('127.0.0.2', 'OPTIONS', '/v1/leases');
    expect([asked.status, asked.headers['allow'], asked.body]).toEqual([204, 'GET, HEAD, POST, OPTIONS', '']);
    expect((await send('127.0.0.2', 'OPTIONS', '*')).status).toBe(204);
    expect((await send('127.0.0.2', 'HEAD', '/v1/leases')).status).toBe(200);
    expect((await send('127.0.0.2', 'PATCH', '/v1/nothing')).status).toBe(404);
  });
});
