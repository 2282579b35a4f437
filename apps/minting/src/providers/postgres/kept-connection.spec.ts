/** The connection kept for ends, at a server that stops answering. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@mayfly/stack';
import { deadlineIn } from '../deadline.ts';
import { ProviderUnavailable } from '../provider-error.ts';
import { AdminConnections } from './connecting/admin-connections.ts';
import { adminConnection } from './connecting/admin-url.ts';
import { KeptConnection } from './kept-connection.ts';

/** AuthenticationOk and ReadyForQuery; CommandComplete and ReadyForQuery (PostgreSQL documentation §54.7). */
const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);
const done = Buffer.from([0x43, 0, 0, 0, 8, 0x53, 0x45, 0x54, 0, 0x5a, 0, 0, 0, 5, 0x49]);

const soon = { deadlineMs: 10_000 };

describe('KeptConnection at a server that stops answering', () => {
  let server: Server;
  let kept: KeptConnection;
  /** What it leaves unanswered: texts with this in them. */
  let silentAt: string | undefined;
  let welcomed = 0;
  let reserves = 0;
  let isClosed = false;

  beforeEach(async () => {
    silentAt = undefined;
    welcomed = 0;
    reserves = 0;
    isClosed = false;
    server = createServer((socket: Socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        welcomed++;
        socket.write(welcome);
        socket.on('data', (bytes) => {
          const text = bytes.toString();
          if (text.includes('pg_try_advisory_lock')) reserves++;
          if (text.startsWith('Q') && (silentAt === undefined || !text.includes(silentAt)))
            socket.write(done);
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const settings = { max: 1, idleTimeoutMillis: 0, connectionTimeoutMillis: 2_000 };
    const connection = adminConnection(`postgres://admin:secret@127.0.0.1:${port}/shop?sslmode=disable`);
    kept = new KeptConnection(new AdminConnections(connection, {}, settings));
    kept.hold();
    await waitUntil('the reserve', () => Promise.resolve(reserves === 1), soon);
  });
  afterEach(async () => {
    if (!isClosed) await kept.close();
    await new Promise((resolve) => server.close(resolve));
  });

  const use = (withinMs: number, makeRoom?: string) =>
    kept.use(
      async (client) => {
        await client.query('SELECT 1');
        return 'done';
      },
      deadlineIn(withinMs, { isVital: true }),
      makeRoom === undefined ? undefined : async (client) => void (await client.query(makeRoom)),
    );

  it('lets nobody wait for its turn beyond the own deadline, and makes another connection', async () => {
    silentAt = 'pg_try_advisory_lock';
    expect(await use(5_000)).toBe('done');
    const asked = performance.now();
    await expect(use(200)).rejects.toBeInstanceOf(ProviderUnavailable);
    expect(performance.now() - asked).toBeLessThan(1_500);
    silentAt = undefined;
    await waitUntil('another connection', () => Promise.resolve(welcomed === 2 && kept.isHeld), soon);
    expect(await use(5_000)).toBe('done');
  });

  it('gives the connection up that does not make room, and serves those who wait by another', async () => {
    silentAt = 'make room';
    const first = use(300, 'SELECT /* make room */ 1');
    const second = use(10_000);
    await expect(first).rejects.toBeInstanceOf(ProviderUnavailable);
    await expect(second).rejects.toBeInstanceOf(ProviderUnavailable);
    await waitUntil('another connection', () => Promise.resolve(welcomed === 2 && kept.isHeld), soon);
    expect(await use(5_000)).toBe('done');
  });

  it('closes while the server owes an answer', async () => {
    silentAt = 'pg_try_advisory_lock';
    expect(await use(5_000)).toBe('done');
    await kept.close();
    isClosed = true;
    expect(kept.isHeld).toBe(false);
  });
});
