/** How many of a server's locks Mayfly itself holds: on servers of their own, because nobody else is to be counted. */
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@mayfly/stack';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { AdminDatabase } from './admin-database.ts';
import { largestReserve, reserveClass } from './lock-reserve.ts';
import { query } from './upstream.fixture.ts';

const limits = { maxConnections: 1, statementTimeoutMs: 5_000, connectTimeoutMs: 4_000 };
const soon = { deadlineMs: 10_000 };

describe('the locks held in reserve', () => {
  let server: OwnPostgres;
  const opened: AdminDatabase[] = [];
  const clients: pg.Client[] = [];

  const start = async (settings: Record<string, string>) => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'mayfly-reserve-'));
    chmodSync(dataDirectory, 0o711);
    server = await startPostgres({
      dataDirectory,
      removeOnStop: true,
      settings: { fsync: 'off', ...settings },
    });
  };
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.end()));
    await Promise.all(opened.splice(0).map((database) => database.close()));
    await server.stop();
  });

  /** With its connection for ends, and what that holds in reserve. */
  const keeping = async () => {
    const database = new AdminDatabase(server.adminUrl, limits);
    opened.push(database);
    database.keepConnection();
    await database.run('SELECT 1', deadlineIn(20_000));
    await waitUntil('the connection for ends', () => Promise.resolve(database.hasKeptConnection), soon);
    return database;
  };
  const session = async (url = server.adminUrl) => {
    const client = new pg.Client(url);
    clients.push(client);
    await client.connect();
    return client;
  };
  const advisoryLocks = async () => {
    const text = `SELECT count(*)::int AS held FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'mayfly-minting'`;
    return Number((await query(server.adminUrl, text))[0]?.['held']);
  };
  /** Uses the connection for ends so many times, while something has the only other one; until nothing is asked there any more. */
  const useKept = async (database: AdminDatabase, times: number) => {
    const holder = await session();
    await holder.query('SELECT pg_advisory_lock(1)');
    const occupied = database.run('SELECT pg_advisory_xact_lock(1)', deadlineIn(20_000));
    const end = () => database.run('SELECT 1', deadlineIn(20_000, { isVital: true }));
    await Promise.all(Array.from({ length: times }, end));
    await holder.query('SELECT pg_advisory_unlock(1)');
    await occupied;
  };

  it('are as many after the fiftieth use of the connection as before the first', async () => {
    await start({});
    const database = await keeping();
    await waitUntil('the reserve', async () => (await advisoryLocks()) === largestReserve, soon);
    await useKept(database, 50);
    // Once more, so that what follows the fiftieth has been asked.
    await useKept(database, 1);
    expect(await advisoryLocks()).toBe(largestReserve);
  });

  it.each([
    { max_connections: '100', max_locks_per_transaction: '64' },
    { max_connections: '100', max_locks_per_transaction: '10' },
    { max_connections: '100', max_locks_per_transaction: '512' },
  ])(
    'are a sixteenth of the locks of the server at most, of however many databases, with %j',
    async (settings) => {
      await start(settings);
      const room = Number(settings.max_connections) * Number(settings.max_locks_per_transaction);
      for (let count = 0; count < 12; count++) {
        const database = await keeping();
        await useKept(database, 1);
        await useKept(database, 1);
        await Promise.all(clients.splice(0).map((client) => client.end()));
        expect(await advisoryLocks()).toBeLessThanOrEqual(room / 16);
      }
      const least = Math.min(room / 16, 12 * 32);
      expect(await advisoryLocks()).toBeGreaterThanOrEqual(Math.floor(least));
    },
  );

  it('are had although a lease takes locks under the same keys', async () => {
    await start({});
    const role = `mayfly_${'0123456789abcdef'.repeat(2)}`;
    await query(server.adminUrl, `CREATE ROLE ${role} LOGIN PASSWORD 'pw'`);
    const url = new URL(server.adminUrl);
    Object.assign(url, { username: role, password: 'pw' });
    const lessee = await session(url.href);
    await lessee.query(`SELECT pg_advisory_lock(${reserveClass}, i) FROM generate_series(1, 2000) i`);
    await keeping();
    await waitUntil('the reserve', async () => (await advisoryLocks()) === largestReserve, soon);
  });
});
