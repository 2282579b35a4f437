import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { MayflyError } from '@mayfly/contracts';
import { connectionStringFor, inDatabase } from './connection-string.ts';
import { migrate } from './migrate.ts';
import { createPool, type PoolSettings } from './pool.ts';
import { quoteName } from './quoting.ts';
import { scramVerifier } from './scram-verifier.ts';
import { auditorRole, ensureServiceDatabase } from './service-roles.ts';
import { inTransaction } from './transaction.ts';

const admin = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';
const suffix = randomBytes(4).toString('hex');
const database = `mayfly_"test" ${suffix}`;
const roles = { policy: `policy_${suffix}`, audit: `audit "${suffix}"` };
const password = `p'w/@:"${suffix}`;
const services = [
  { schema: 'policy', role: roles.policy, password },
  { schema: 'audit', role: roles.audit, password },
];
const asRole = (role: string) => connectionStringFor(admin, { role, password, database });

async function run(connectionString: string, ...statements: string[]): Promise<unknown[]> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    let rows: unknown[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

function poolOf(
  role: string,
  more: Partial<Pick<PoolSettings, 'max' | 'statementTimeoutMs' | 'idleInTransactionMs'>> = {},
) {
  const lost: Error[] = [];
  const pool = createPool({
    connectionString: asRole(role),
    applicationName: `test-${suffix}`,
    max: 2,
    statementTimeoutMs: 5_000,
    connectionTimeoutMs: 5_000,
    onIdleError: (error) => lost.push(error),
    ...more,
  });
  return { pool, lost };
}

describe('the database of the services', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'mayfly-migrations-'));
    await writeFile(join(directory, '0001_init.sql'), 'CREATE TABLE items (id int PRIMARY KEY, name text);');
    await writeFile(join(directory, 'README.md'), 'not a migration');
    const settings = { database, services, auditor: { schema: 'audit' } };
    // Twice at once, and once more: it can be run again, and by several processes.
    await Promise.all([ensureServiceDatabase(admin, settings), ensureServiceDatabase(admin, settings)]);
    await ensureServiceDatabase(admin, settings);
  });

  afterAll(async () => {
    await rm(directory, { recursive: true });
    await run(admin, `DROP DATABASE ${quoteName(database)} WITH (FORCE)`);
    await run(admin, ...Object.values(roles).map((role) => `DROP ROLE ${quoteName(role)}`));
  });

  it('is migrated once by racing replicas, with the rights of the service’s own role', async () => {
    const settings = { connectionString: asRole(roles.policy), schema: 'policy', directory };
    const ran = await Promise.all([migrate(settings), migrate(settings), migrate(settings)]);
    expect(ran.flat()).toEqual(['0001_init']);
    await run(asRole(roles.policy), `INSERT INTO items VALUES (1, 'x')`);
    expect(await run(asRole(roles.policy), 'SELECT name FROM policy.migrations')).toEqual([
      { name: '0001_init' },
    ]);
  });

  it('stays as it was when a migration fails', async () => {
    const settings = { connectionString: asRole(roles.audit), schema: 'audit', directory };
    const wrong = join(directory, '0002_wrong.sql');
    await writeFile(wrong, 'CREATE TABLE more (id int); SELECT nonsense;');
    await expect(migrate(settings)).rejects.toThrow('nonsense');
    expect(await run(asRole(roles.audit), `SELECT to_regclass('items') AS items`)).toEqual([{ items: null }]);
    await rm(wrong);
    expect(await migrate(settings)).toEqual(['0001_init']);
  });

  it('is refused, and told what to do, by a version that has other migrations', async () => {
    const other = await mkdtemp(join(tmpdir(), 'mayfly-migrations-'));
    await writeFile(join(other, '0001_items.sql'), 'CREATE TABLE things (id int PRIMARY KEY);');
    await writeFile(join(other, '0002_more.sql'), 'CREATE TABLE more (id int PRIMARY KEY);');
    const settings = { connectionString: asRole(roles.policy), schema: 'policy', directory: other };
    await expect(migrate(settings)).rejects.toThrow(
      /^The schema policy was made by another version .* has 0001_init where this version has 0001_items\. .* delete the folder \.mayfly /,
    );
    await rm(other, { recursive: true });
    expect(await run(asRole(roles.policy), 'SELECT name FROM policy.migrations')).toEqual([
      { name: '0001_init' },
    ]);
    expect(await run(asRole(roles.policy), `SELECT to_regclass('more') AS more`)).toEqual([{ more: null }]);
  });

  it('is left as it is by an older version whose migrations are the first of those that ran', async () => {
    const newer = await mkdtemp(join(tmpdir(), 'mayfly-migrations-'));
    await copyFile(join(directory, '0001_init.sql'), join(newer, '0001_init.sql'));
    await writeFile(join(newer, '0002_more.sql'), 'CREATE TABLE more (id int PRIMARY KEY);');
    const settings = { connectionString: asRole(roles.policy), schema: 'policy' };
    expect(await migrate({ ...settings, directory: newer })).toEqual(['0002_more']);
    expect(await migrate({ ...settings, directory })).toEqual([]);
    await rm(newer, { recursive: true });
  });

  it('is closed to the other services, to creation and to strangers', async () => {
    for (const statement of [
      'SELECT FROM audit.items',
      'CREATE TABLE audit.mine (id int)',
      'CREATE TABLE public.mine (id int)',
      'CREATE SCHEMA mine',
      'CREATE TEMPORARY TABLE mine (id int)',
      'CREATE ROLE mine',
    ]) {
      await expect(run(asRole(roles.policy), statement)).rejects.toMatchObject({ code: '42501' });
    }
    const stranger = `stranger_${suffix}`;
    await run(admin, `CREATE ROLE ${stranger} LOGIN PASSWORD '${await scramVerifier('x')}'`);
    const url = connectionStringFor(admin, { role: stranger, password: 'x', database });
    await expect(run(url, 'SELECT')).rejects.toMatchObject({ code: '42501' });
    await run(admin, `DROP ROLE ${stranger}`);
  });

  it('lets auditors read what the audit service grants, and nothing else', async () => {
    await run(
      asRole(roles.audit),
      'CREATE VIEW seen AS SELECT id FROM items',
      'CREATE FUNCTION act() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$',
      `GRANT SELECT ON seen TO ${auditorRole}`,
    );
    // The role is the server's, and other tests may give it a password: enter it without one.
    const asAuditor = (statement: string) =>
      run(inDatabase(admin, database), `SET ROLE ${auditorRole}`, 'SET search_path = audit', statement);
    expect(await asAuditor('SELECT count(*)::int AS n FROM seen')).toEqual([{ n: 0 }]);
    for (const statement of [
      'SELECT FROM audit.items',
      'SELECT audit.act()',
      'INSERT INTO seen VALUES (1)',
      'CREATE TABLE audit.mine (id int)',
      'SELECT FROM policy.items',
    ]) {
      await expect(asAuditor(statement)).rejects.toMatchObject({ code: '42501' });
    }
  });

  it('never holds a password, only what verifies one', async () => {
    const stored = await run(admin, `SELECT rolpassword FROM pg_authid WHERE rolname = '${roles.policy}'`);
    expect(stored).toEqual([{ rolpassword: expect.stringMatching(/^SCRAM-SHA-256\$4096:/) }]);
  });

  describe('inTransaction', () => {
    it('gives the result of what is committed, and undoes what fails', async () => {
      const { pool } = poolOf(roles.policy);
      const insert = (id: number) => ({ text: 'INSERT INTO items (id) VALUES ($1)', values: [id] });
      expect(await inTransaction(pool, async (client) => (await client.query(insert(10))).rowCount)).toBe(1);
      const failure = new Error('changed my mind');
      await expect(
        inTransaction(pool, async (client) => {
          await client.query(insert(11));
          throw failure;
        }),
      ).rejects.toBe(failure);
      await expect(inTransaction(pool, (client) => client.query(insert(10)))).rejects.toMatchObject({
        code: '23505',
      });
      expect((await pool.query('SELECT id FROM items WHERE id >= 10')).rows).toEqual([{ id: 10 }]);
      expect(pool.totalCount).toBe(1);
      await pool.end();
    });

    it('does not take a failed transaction for a committed one when the error was swallowed', async () => {
      const { pool } = poolOf(roles.policy);
      await expect(
        inTransaction(pool, async (client) => {
          await client.query('SELECT 1/0').catch(() => undefined);
          return 'stored';
        }),
      ).rejects.toMatchObject({ code: 'internal' });
      await pool.end();
    });

    it('reports a connection cut inside a transaction as Postgres being away, and goes on with a new one', async () => {
      const { pool } = poolOf(roles.policy);
      const cut = inTransaction(pool, async (client) => {
        const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await run(admin, `SELECT pg_terminate_backend(${rows[0]?.pid})`);
        await client.query('SELECT 1');
      });
      await expect(cut).rejects.toMatchObject({ code: 'dependency_unavailable' });
      expect(
        await inTransaction(
          pool,
          async (client) => (await client.query<{ n: number }>('SELECT 7 AS n')).rows,
        ),
      ).toEqual([{ n: 7 }]);
      await pool.end();
    });

    it('loses its locks when it stands still for too long, as that of a paused process does', async () => {
      const { pool } = poolOf(roles.policy, { statementTimeoutMs: 60_000, idleInTransactionMs: 100 });
      const still = inTransaction(pool, async (client) => {
        await client.query('SELECT FROM items WHERE id = 10 FOR UPDATE');
        // Waits for the lock, while this transaction says nothing.
        await run(asRole(roles.policy), `UPDATE items SET name = 'y' WHERE id = 10`);
        await client.query('SELECT 1');
      });
      await expect(still).rejects.toMatchObject({ code: 'dependency_unavailable' });
      await pool.end();
    });

    it('reports timeouts and a pool in use as Postgres being away', async () => {
      const { pool } = poolOf(roles.policy, { max: 1, statementTimeoutMs: 200 });
      await expect(
        inTransaction(pool, (client) => client.query('SELECT pg_sleep(10)')),
      ).rejects.toMatchObject({
        code: 'dependency_unavailable',
      });
      await pool.end();
      const nobody = createPool({
        connectionString: 'postgres://x:y@127.0.0.1:1/x',
        applicationName: 'x',
        max: 1,
        statementTimeoutMs: 100,
        connectionTimeoutMs: 1_000,
        onIdleError: () => undefined,
      });
      await expect(inTransaction(nobody, () => Promise.resolve())).rejects.toBeInstanceOf(MayflyError);
      await nobody.end();
    });
  });

  it('tells of idle connections that were cut, and survives it', async () => {
    const { pool, lost } = poolOf(roles.policy);
    await pool.query('SELECT 1');
    await run(
      inDatabase(admin, database),
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'test-${suffix}'`,
    );
    const deadline = Date.now() + 5_000;
    while (lost.length === 0 && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(lost).toHaveLength(1);
    expect((await pool.query('SELECT 2 AS n')).rows).toEqual([{ n: 2 }]);
    await pool.end();
  });
});
