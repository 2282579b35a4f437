/** What a server that lies about itself may send. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { AdminConnections } from './admin-connections.ts';
import { adminConnection } from './admin-url.ts';
import { mostBytesAtStart, mostBytesOfAnswer } from './guarded-parser.ts';

/** AuthenticationOk and ReadyForQuery (PostgreSQL documentation §54.7). */
const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);
const done = Buffer.from([0x43, 0, 0, 0, 8, 0x53, 0x45, 0x54, 0, 0x5a, 0, 0, 0, 5, 0x49]);
/** ReadyForQuery. */
const ready = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
/** A message of a gigabyte begins. */
const endless = Buffer.from([0x44, 0x40, 0, 0, 0]);
/** What the server may have in its own and the network's buffers when the connection is lost, and much less than it wants to send. */
const underway = 12 * 1024 * 1024;
const wanted = 256 * 1024 * 1024;

describe('a server that sends more than it was asked for', () => {
  let server: Server;
  let connections: AdminConnections;
  let sent = 0;
  let closed: Promise<void>;

  /** Sends `piece` until it has sent what it wants to, or nobody listens. */
  const flood = (socket: Socket, piece: Buffer) => {
    const more = () => {
      while (sent < wanted && !socket.destroyed) {
        sent += piece.length;
        if (!socket.write(piece)) return void socket.once('drain', more);
      }
      socket.destroy();
    };
    more();
  };
  const start = async (serve: (socket: Socket) => void) => {
    sent = 0;
    let tell: () => void = () => undefined;
    closed = new Promise((resolve) => (tell = resolve));
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('close', () => tell());
      socket.once('data', () => serve(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const connection = adminConnection(`postgres://admin:secret@127.0.0.1:${port}/shop?sslmode=disable`);
    connections = new AdminConnections(connection, {}, { max: 1, connectionTimeoutMillis: 20_000 });
  };
  afterEach(async () => {
    await connections.end();
    await new Promise((resolve) => server.close(resolve));
  });

  it('is left before it has authenticated anybody', async () => {
    await start((socket) => {
      socket.write(endless);
      flood(socket, Buffer.alloc(mostBytesAtStart));
    });
    await expect(connections.connect()).rejects.toMatchObject({ code: 'provider_unavailable' });
    await closed;
    expect(sent).toBeLessThan(underway);
  });

  it.each([
    ['with one message', endless, Buffer.alloc(64 * 1024)],
    ['with many answers to one statement', Buffer.alloc(0), Buffer.concat(Array<Buffer>(10_000).fill(ready))],
  ])('is left while it answers, %s', async (_, first, piece) => {
    await start((socket) => {
      socket.write(welcome);
      socket.once('data', () => {
        socket.write(done);
        socket.once('data', () => {
          socket.write(first);
          flood(socket, piece);
        });
      });
    });
    const client = await connections.connect();
    const lost = new Promise((resolve) => client.once('end', resolve));
    client.on('error', () => undefined);
    await client.query('SELECT 1').catch(() => undefined);
    await lost;
    client.release(true);
    await closed;
    expect(sent).toBeLessThan(underway + mostBytesOfAnswer);
  });
});
