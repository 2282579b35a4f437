import { randomUUID } from 'node:crypto';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Subject } from '@mayfly/contracts';
import { migrate, quoteName } from '@mayfly/postgres';
import { canonicalNames, oddNames } from '@mayfly/testing';
import pg from 'pg';
import { testDatabase, type TestDatabase } from '../register-fixtures.ts';
import { migrationsDirectory, schema } from '../revocation.module.ts';
import { fenceSubject } from './revocations.ts';

const kinds = Object.keys(oddNames) as (keyof typeof oddNames)[];

describe('the register’s schema', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await testDatabase();
  });
  afterAll(() => database.drop());

  const constraint = (attempt: Promise<unknown>) =>
    attempt.then(
      () => 'stored',
      (error: unknown) => String((error as { constraint?: string }).constraint),
    );
  const fence = (kind: Subject['kind'], id: string) =>
    constraint(fenceSubject(database.pool, 'acme', { kind, id }, 'x', false));
  const revoke = (kind: string, id: string) =>
    constraint(
      database.pool.query('SELECT revocation.accept_revocation($1::jsonb, false, $2::jsonb)', [
        JSON.stringify({
          revocation_id: randomUUID(),
          organization: 'acme',
          subject_kind: kind,
          subject_id: id,
          reason: 'x',
          asked_by: 'x',
          asked_organization: 'acme',
          asked_session_id: randomUUID(),
        }),
        JSON.stringify({ id: randomUUID() }),
      ]),
    );

  it.each(kinds)(
    'fences and revokes by %s in its one form alone: another would stop nothing',
    async (kind) => {
      expect(await fence(kind, canonicalNames[kind])).toBe('stored');
      expect(await revoke(kind, canonicalNames[kind])).toBe('stored');
      for (const id of oddNames[kind]) {
        expect([id, await fence(kind, id)]).toEqual([id, 'subject_is_canonical']);
        expect([id, await revoke(kind, id)]).toEqual([id, 'subject_is_canonical']);
      }
    },
  );

  it('takes leases with names in their one form alone', async () => {
    const lease = (changes: object) => {
      const row = {
        lease_id: randomUUID(),
        state: 'intended',
        organization: 'acme',
        session_id: randomUUID(),
        agent_id: canonicalNames.agent,
        user: canonicalNames.user,
        credential: 'i/c',
        integration: 'i',
        provider: 'p',
        scope: {},
        ttl_seconds: 1,
        config_version: 1,
        issuance_traceparent: 't',
        due_at: 'now',
        ...changes,
      };
      const columns = Object.keys(row).map((column) => quoteName(column));
      return constraint(
        database.pool.query(
          `INSERT INTO revocation.leases (${columns.join(', ')})
           SELECT ${columns.map((column) => `r.${column}`).join(', ')}
           FROM jsonb_populate_record(NULL::revocation.leases, $1::jsonb) r`,
          [JSON.stringify(row)],
        ),
      );
    };
    expect(await lease({})).toBe('stored');
    expect(await lease({ user: null, organization: 'acme.2' })).toBe('stored');
    for (const user of oddNames.user) expect(await lease({ user })).toBe('user_is_canonical');
    for (const agent_id of oddNames.agent) expect(await lease({ agent_id })).toBe('agent_is_canonical');
    expect(await lease({ organization: '*' })).toBe('organization_is_canonical');
  });
});

describe('the migration to canonical names', () => {
  let database: TestDatabase;
  let earlier: string;
  let pool: pg.Pool;
  let url: string;

  beforeEach(async () => {
    database = await testDatabase();
    await database.pool.query(`DROP SCHEMA ${schema} CASCADE`);
    ({ url } = database);
    pool = database.pool;
    earlier = await mkdtemp(join(tmpdir(), 'mayfly-migrations-'));
    for (const file of await readdir(migrationsDirectory)) {
      if (file < '0012') await cp(join(migrationsDirectory, file), join(earlier, file));
    }
    await migrate({ connectionString: url, schema, directory: earlier });
  });
  afterEach(async () => {
    await database.drop();
    await rm(earlier, { recursive: true });
  });

  it('makes fences, live leases and open revocations meet in one form, and lets what can match nothing be done', async () => {
    await pool.query(
      `SELECT revocation.set_fence('acme', 'session', $1, NULL, 'infinity', 'x'),
              revocation.set_fence('acme', 'user', 'Ada@Example.com', NULL, now(), 'x'),
              revocation.set_fence('acme', 'user', 'ada@example.com', NULL, now() - interval '1 minute', 'x'),
              revocation.set_fence('acme', 'agent', 'everybody', NULL, now(), 'x')`,
      [canonicalNames.session.toUpperCase()],
    );
    await pool.query(
      `INSERT INTO revocation.leases (lease_id, state, organization, session_id, agent_id, "user", credential, integration, provider,
         scope, ttl_seconds, config_version, issuance_traceparent, due_at)
       VALUES (gen_random_uuid(), 'intended', 'acme', gen_random_uuid(), $1, $2, 'i/c', 'i', 'p', '{}', 1, 1, 't', now())`,
      [canonicalNames.agent, 'Zoe\u0308@example.com\u200b'],
    );
    const ordered = (kind: string, id: string, done: boolean) =>
      pool.query(
        `INSERT INTO revocation.revocations (revocation_id, organization, subject_kind, subject_id, reason, asked_by,
           asked_organization, asked_session_id, asked_at, instant, gathered_at, done_at, due_at)
         VALUES (gen_random_uuid(), 'acme', $1, $2, 'x', 'x', 'acme', gen_random_uuid(), now(), now(),
           CASE WHEN $3 THEN now() END, CASE WHEN $3 THEN now() END, CASE WHEN NOT $3 THEN now() END)`,
        [kind, id, done],
      );
    await ordered('user', 'ADA@example.com', false);
    await ordered('credential', 'nonsense', false);
    await ordered('agent', 'x', true);
    await migrate({ connectionString: url, schema, directory: migrationsDirectory });
    const rows = async (text: string) => (await pool.query({ text, rowMode: 'array' })).rows as unknown[];
    expect(
      await rows(`SELECT subject_kind, subject_id, instant = 'infinity', instant > now() - interval '30 seconds'
                  FROM revocation.fences ORDER BY 1`),
    ).toEqual([
      ['session', canonicalNames.session, true, true],
      ['user', 'ada@example.com', false, true],
    ]);
    expect(await rows('SELECT "user" FROM revocation.leases')).toEqual([['zo\u00eb@example.com']]);
    expect(
      await rows('SELECT subject_id, done_at IS NULL FROM revocation.revocations ORDER BY subject_id'),
    ).toEqual([
      ['ada@example.com', true],
      ['nonsense', false],
      ['x', false],
    ]);
  });
});
