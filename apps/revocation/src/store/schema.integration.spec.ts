import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { leaseStates, type LeaseState } from '@mayfly/contracts';
import { hasEnded, mayMove } from '@mayfly/domain';
import { outboxTableSql } from '@mayfly/messaging';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { testDatabase, type TestDatabase } from '../register-fixtures.ts';
import { migrationsDirectory, schema } from '../revocation.module.ts';

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
       VALUES ($1, 'o', $1, 'a', 'i/c', 'i', 'p', '{}', 1, 1, 't', ${assignments.map(([, value]) => value).join(', ')})`,
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

  it('finds due work by its index among any number of ended leases', async () => {
    await database.pool.query(`
      INSERT INTO revocation.leases (lease_id, state, organization, session_id, agent_id, credential, integration, provider,
        scope, ttl_seconds, config_version, issuance_traceparent, end_cause, ended_at)
      SELECT gen_random_uuid(), 'expired', 'o', gen_random_uuid(), 'a', 'i/c', 'i', 'p', '{}', 1, 1, 't', 'expired', now()
      FROM generate_series(1, 20000)`);
    await database.pool.query('ANALYZE revocation.leases');
    const { rows } = await database.pool.query<Record<string, string>>(
      'EXPLAIN SELECT lease_id FROM revocation.leases WHERE due_at <= now() ORDER BY due_at LIMIT 64',
    );
    expect(JSON.stringify(rows)).toContain('leases_due');
    const { rows: size } = await database.pool.query<{ pages: number }>(
      `SELECT (pg_relation_size('revocation.leases_due') / 8192)::int AS pages`,
    );
    expect(size[0]?.pages).toBeLessThan(5);
  });
});
