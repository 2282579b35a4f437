import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { AdminDatabase } from './admin-database.ts';

const limits = { maxConnections: 1, statementTimeoutMs: 1_000, connectTimeoutMs: 2_000 };

/** AuthenticationOk and ReadyForQuery (PostgreSQL documentation §54.7). */
const welcome = Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]);

/** CommandComplete and ReadyForQuery: the answer to how the session is set up. */
const setUp = Buffer.from([0x43, 0, 0, 0, 8, 0x53, 0x45, 0x54, 0, 0x5a, 0, 0, 0, 5, 0x49]);

describe('AdminDatabase', () => {
  let server: Server;
  let database: AdminDatabase;

  beforeEach(async () => {
    // Welcomes everybody, and cuts whoever asks for anything without a word: a server that was killed.
    server = createServer((socket: Socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        socket.write(welcome);
        socket.once('data', () => {
          socket.write(setUp);
          socket.once('data', () => socket.resetAndDestroy());
        });
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    database = new AdminDatabase(`postgres://admin:secret@127.0.0.1:${port}/shop`, limits);
  });
  afterEach(async () => {
    await database.close();
    await new Promise((resolve) => server.close(resolve));
  });

  it('answers a connection lost in the middle of a statement with a failure, and the process lives on', async () => {
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(database.run('SELECT 1', deadlineIn(5_000))).rejects.toMatchObject({
        code: 'provider_unavailable',
        effect: 'unknown',
      });
    }
  });

  it('names another database of the same server, however the URL names the server', () => {
    const urls = [
      'postgres://admin:p%40ss@db.example:5433/shop?application_name=x',
      'postgres://admin:p%40ss@/shop?host=/run/postgresql&port=5433',
      'postgresql://db.example',
    ];
    const others = urls.map((url) => new pg.Client(new AdminDatabase(url, limits).urlOf('a b')));
    expect(others.map(({ host, port, database: name }) => [host, port, name])).toEqual([
      ['db.example', 5433, 'a b'],
      ['/run/postgresql', 5433, 'a b'],
      ['db.example', 5432, 'a b'],
    ]);
  });
});
