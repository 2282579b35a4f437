import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { leaseStates, type LeaseState } from '@mayfly/contracts';
import { hasEnded, mayMove } from '@mayfly/domain';
import { outboxTableSql } from '@mayfly/messaging';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { testDatabase, type TestDatabase } from '../register-fixtures.ts';
import { migrationsDirectory, schema } from '../revocation.module.ts';
import { claimDueLeases, timeToNextDue } from './due.ts';
import { listLeases, registerSize } from './reading.ts';
import { joinReplicas } from './replicas.ts';
import { pruneLeases } from './retention.ts';

/** What the constraints ask of a row in this state. */
function columnsFor(state: LeaseState): string {
  const isLive = ['active', 'revoking', 'revocation_failed'].includes(state);
  const hasCause = ['revoking', 'revocation_failed', 'expired', 'revoked'].includes(state);
  return [
    `state = '${state}'`,
    `ended_at = ${hasEnded(state) ? 'now()' : 'NULL'}`,
    `due_at = ${hasEnded(state) ? 'NULL' : 'now()'}`,
    `handle = ${isLive ? "'h'" : 'NULL'}`,
    `end_cause = ${hasCause ? "'revoked'" : 'NULL'}`,
    `granted_at = ${isLive ? 'now()' : 'NULL'}`,
    `issued_at = ${isLive ? 'now()' : 'NULL'}`,
    `expires_at = ${isLive ? 'now()' : 'NULL'}`,
    `revocability = ${isLive ? `'{"kind":"immediate"}'` : 'NULL'}`,
  ].join(', ');
}

describe('the schema', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  async function insert(state: LeaseState): Promise<string> {
    const id = uuidv7();
    const assignments = columnsFor(state)
      .split(', ')
      .map((part) => part.split(' = '));
    await database.pool.query(
      `INSERT INTO revocation.leases (lease_id, organization, session_id, agent_id, credential, integration, provider,
         scope, ttl_seconds, config_version, issuance_traceparent, ${assignments.map(([column]) => column).join(', ')})
       VALUES ($1, 'o', $1, 'spiffe://o/agent/a/b/c', 'i/c', 'i', 'p', '{}', 1, 1, 't', ${assignments.map(([, value]) => value).join(', ')})`,
      [id],
    );
    return id;
  }

  it('allows the moves of the published table and no others', async () => {
    for (const from of leaseStates) {
      const id = await insert(from);
      for (const to of leaseStates.filter((state) => state !== from)) {
        const client = await database.pool.connect();
        try {
          await client.query('BEGIN');
          const moved = await client
            .query(`UPDATE revocation.leases SET ${columnsFor(to)} WHERE lease_id = $1`, [id])
            .then(
              () => true,
              (error: unknown) => {
                expect((error as Error).message).toBe(`a lease does not move from ${from} to ${to}`);
                return false;
              },
            );
          expect({ from, to, moved }).toEqual({ from, to, moved: mayMove(from, to) });
        } finally {
          await client.query('ROLLBACK');
          client.release();
        }
      }
    }
  });

  it('has no lease that is neither ended nor due', async () => {
    const id = await insert('active');
    await expect(
      database.pool.query('UPDATE revocation.leases SET due_at = NULL WHERE lease_id = $1', [id]),
    ).rejects.toThrow(/never_forgotten|handle_is_dropped/);
  });

  it('has the outbox that is relayed', async () => {
    const migration = await readFile(join(migrationsDirectory, '0002_outbox.sql'), 'utf8');
    expect(migration).toContain(outboxTableSql(schema));
  });

  it('says of every table and column what it is', async () => {
    const { rows } = await database.pool.query(`
      SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0
      LEFT JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum
      WHERE c.relnamespace = 'revocation'::regnamespace AND c.relkind = 'r' AND c.relname <> 'migrations'
        AND NOT a.attisdropped AND d.description IS NULL`);
    expect(rows).toEqual([]);
  });

  it('reads no whole table and stays quick among 1,000,000 leases, and forgets old ones some at a time', async () => {
    const one = new pg.Pool({ connectionString: database.url, max: 1 });
    try {
      // Ended ones from 60 days ago until now, and a thousand that live.
      await one.query(`
        INSERT INTO revocation.leases (lease_id, state, organization, session_id, agent_id, credential, integration, provider,
          scope, ttl_seconds, config_version, issuance_traceparent, end_cause, ended_at)
        SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 19))::uuid,
          'expired', 'o', gen_random_uuid(), 'spiffe://o/agent/a/b/c', 'i/c', 'i', 'p', '{}', 1, 1, 't', 'expired', made
        FROM generate_series(1, 1000000) AS n, LATERAL (SELECT now() - interval '60 days' * (1 - n / 1000000.0) AS made) AS at`);
      await one.query(`
        INSERT INTO revocation.leases (lease_id, state, organization, session_id, agent_id, credential, integration, provider,
          scope, ttl_seconds, config_version, issuance_traceparent, granted_at, issued_at, expires_at, revocability, handle, due_at)
        SELECT gen_random_uuid(), 'active', 'o', gen_random_uuid(), 'spiffe://o/agent/a/b/c', 'i/c', 'i', 'p', '{}', 1, 1, 't', now(), now(), now(),
          '{"kind":"immediate"}', 'h', now() + make_interval(secs => n) FROM generate_series(-10, 1000) AS n`);
      await one.query('VACUUM ANALYZE revocation.leases');
      const scans = async () => {
        await one.query('SELECT pg_stat_force_next_flush()');
        const { rows } = await one.query<{ seq_scan: string }>(
          `SELECT seq_scan FROM pg_stat_user_tables WHERE schemaname = 'revocation' AND relname = 'leases'`,
        );
        return Number(rows[0]?.seq_scan);
      };
      const before = await scans();
      const replicaId = uuidv7();
      await one.query(
        'INSERT INTO revocation.replicas (replica_id, backend_pid, backend_start) VALUES ($1, 1, now())',
        [replicaId],
      );
      const begun = performance.now();
      // Often enough for a plan that is made for any value.
      for (let round = 0; round < 7; round++) {
        const due = await claimDueLeases(one, {
          replicaId,
          limit: 1,
          perIntegration: 8,
          room: new Map(),
          isWide: round % 2 === 0,
        });
        expect(due).toHaveLength(1);
        await timeToNextDue(one, []);
        await registerSize(one);
        await listLeases(one, {
          organization: 'o',
          onlyAgent: 'spiffe://o/agent/a/b/c',
          which: 'live',
          before: undefined,
          limit: 10,
        });
        await listLeases(one, {
          organization: 'o',
          onlyAgent: undefined,
          which: 'failing',
          before: undefined,
          limit: 10,
        });
        expect(await pruneLeases(one, 30 * 86_400, 500)).toBe(500);
      }
      expect(performance.now() - begun).toBeLessThan(5_000);
      expect(await scans()).toBe(before);
      const { rows } = await one.query<Record<string, string>>(
        'EXPLAIN SELECT lease_id FROM revocation.leases WHERE due_at <= now() ORDER BY due_at LIMIT 64',
      );
      expect(JSON.stringify(rows)).toContain('leases_due');
      const { rows: size } = await one.query<{ pages: number }>(
        `SELECT (pg_relation_size('revocation.leases_due') / 8192)::int AS pages`,
      );
      expect(size[0]?.pages).toBeLessThan(20);
    } finally {
      await one.end();
    }
  }, 180_000);

  it('has claims change a lease in place, without touching an index', async () => {
    await database.pool.query('TRUNCATE revocation.leases');
    for (let count = 0; count < 3; count++) await insert('active');
    const one = new pg.Pool({ connectionString: database.url, max: 1 });
    const updates = async () => {
      await one.query('SELECT pg_stat_force_next_flush()');
      const { rows } = await one.query<{ all: number; hot: number }>(
        `SELECT n_tup_upd::int AS all, n_tup_hot_upd::int AS hot FROM pg_stat_user_tables
         WHERE schemaname = 'revocation' AND relname = 'leases'`,
      );
      return rows[0] ?? { all: 0, hot: 0 };
    };
    try {
      const before = await updates();
      const replicaId = uuidv7();
      await joinReplicas(one, { replicaId, previousId: replicaId, inHand: [] });
      const options = {
        replicaId,
        limit: 3,
        perIntegration: 3,
        room: new Map<string, number>(),
        isWide: true,
      };
      const inHand = await claimDueLeases(one, options);
      await joinReplicas(one, { replicaId: uuidv7(), previousId: replicaId, inHand });
      const after = await updates();
      expect({ all: after.all - before.all, hot: after.hot - before.hot }).toEqual({ all: 6, hot: 6 });
    } finally {
      await one.end();
    }
  });

  it('forgets leases that ended long ago and nothing else', async () => {
    await database.pool.query('TRUNCATE revocation.leases');
    const old = `(lpad(to_hex((extract(epoch FROM now() - interval '40 days') * 1000)::bigint), 12, '0') || repeat('7', 20))::uuid`;
    const [kept, cleaning] = [await insert('expired'), await insert('orphaned')];
    const forgotten = await insert('revoked');
    await database.pool.query(
      `UPDATE revocation.leases SET ended_at = now() - interval '40 days' WHERE lease_id <> $1`,
      [kept],
    );
    await database.pool.query(
      `UPDATE revocation.leases SET cleanup = 'pending', due_at = now() WHERE lease_id = $1`,
      [cleaning],
    );
    await database.pool.query(`UPDATE revocation.leases SET lease_id = ${old} WHERE lease_id = $1`, [
      forgotten,
    ]);
    expect(await pruneLeases(database.pool, 30 * 86_400, 100)).toBe(1);
    const { rows } = await database.pool.query<{ lease_id: string }>(
      'SELECT lease_id FROM revocation.leases',
    );
    expect(rows.map((row) => row.lease_id).sort()).toEqual([kept, cleaning].sort());
  });
});
