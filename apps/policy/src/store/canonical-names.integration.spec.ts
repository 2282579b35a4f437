import { randomBytes, randomUUID } from 'node:crypto';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { BlockSubject, invisible, User } from '@mayfly/contracts';
import { inDatabase, migrate } from '@mayfly/postgres';
import { canonicalNames, oddNames } from '@mayfly/testing';
import pg from 'pg';
import { freshDatabase, type FreshDatabase } from '../spec-support/fresh-database.ts';
import { insertSession } from './sessions.ts';

const kinds = BlockSubject.options.map(({ shape }) => shape.kind.value);

describe('policy’s schema', () => {
  let database: FreshDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(() => database.drop());

  const failure = (attempt: Promise<unknown>) =>
    attempt.then(
      () => 'stored',
      (error: unknown) => String((error as { constraint?: string }).constraint),
    );
  const block = (kind: string, id: string) =>
    failure(
      database.pool.query(
        `INSERT INTO policy.blocks (block_id, organization, subject_kind, subject_id, reason, added_by, added_at)
         VALUES ($1, 'acme', $2, $3, 'x', 'x', now())`,
        [randomUUID(), kind, id],
      ),
    );

  it.each(kinds)('takes a block by %s in its one form alone', async (kind) => {
    expect(await block(kind, canonicalNames[kind])).toBe('stored');
    expect(BlockSubject.parse({ kind, id: canonicalNames[kind] }).id).toBe(canonicalNames[kind]);
    for (const id of oddNames[kind]) {
      expect([id, await block(kind, id)]).toEqual([id, 'subject_is_canonical']);
    }
  });

  it('takes a session with names in their one form alone', async () => {
    const session = (changes: object) =>
      failure(
        insertSession(database.pool, {
          id: randomUUID(),
          organization: 'acme',
          agentId: canonicalNames.agent,
          kind: 'agent',
          personRoles: [],
          trustRule: 'agents',
          ttlSeconds: 60,
          configVersion: 1,
          identitySha256: randomBytes(32),
          mostOfIdentity: 1,
          ...changes,
        }),
      );
    expect(await session({ user: canonicalNames.user, organization: 'acme.2' })).toBe('stored');
    for (const user of oddNames.user) expect(await session({ user })).toBe('user_is_canonical');
    for (const agentId of oddNames.agent) expect(await session({ agentId })).toBe('agent_is_canonical');
    for (const organization of ['Acme', 'acme.', 'acme.0', '*', ''])
      expect(await session({ organization })).toBe('organization_is_canonical');
  });

  it('knows every character that nobody sees, and takes every user that the contract takes', async () => {
    const { rows } = await database.pool.query<{ point: number }>(
      `SELECT point FROM generate_series(1, 1114111) point
       WHERE point NOT BETWEEN 55296 AND 57343 AND NOT policy.is_user('x' || chr(point) || 'x')`,
    );
    const refused = new Set(rows.map(({ point }) => point));
    for (let point = 1; point <= 0x10ffff; point++) {
      if (point >= 0xd800 && point <= 0xdfff) continue;
      const character = String.fromCodePoint(point);
      const seen = !invisible.test(character);
      const isNamed = !/[\p{Cn}\p{Co}]/u.test(character);
      if (!seen && isNamed && !refused.has(point)) throw new Error(`stores U+${point.toString(16)}`);
      if (User.safeParse(`x${character}x`).data === `x${character}x` && refused.has(point))
        throw new Error(`refuses U+${point.toString(16)}`);
    }
  });
});

describe('the migration to canonical names', () => {
  const folder = fileURLToPath(new URL('../../migrations', import.meta.url));
  const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';
  const name = `policy_${randomBytes(6).toString('hex')}`;
  let earlier: string;
  let pool: pg.Pool;

  beforeAll(async () => {
    const client = new pg.Client({ connectionString: adminUrl });
    await client.connect();
    await client.query(`CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`);
    await client.end();
    earlier = await mkdtemp(join(tmpdir(), 'mayfly-migrations-'));
    for (const file of await readdir(folder)) {
      if (file < '0009') await cp(join(folder, file), join(earlier, file));
    }
    pool = new pg.Pool({ connectionString: inDatabase(adminUrl, name) });
    pool.on('error', () => undefined);
  });
  afterAll(async () => {
    await pool.end();
    await rm(earlier, { recursive: true });
    const client = new pg.Client({ connectionString: adminUrl });
    await client.connect();
    await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    await client.end();
  });

  it('brings what is stored into its form, keeps the longest block of one subject, and leaves sessions live', async () => {
    const connectionString = inDatabase(adminUrl, name);
    await migrate({ connectionString, schema: 'policy', directory: earlier });
    const block = (kind: string, id: string, until: string | null) =>
      pool.query(
        `INSERT INTO policy.blocks (block_id, organization, subject_kind, subject_id, reason, added_by, added_at, until)
         VALUES (gen_random_uuid(), 'acme', $1, $2, $3, 'x', now(), $3::timestamptz)`.replace(
          "$3, 'x'",
          "coalesce($3, 'ever'), 'x'",
        ),
        [kind, id, until],
      );
    await block('user', 'Ada@Example.com', '2100-01-01');
    await block('user', 'ada@example.com', '2050-01-01');
    await block('user', 'Zoe\u0308@example.com\u200b', null);
    await block('agent', 'spiffe://acme.example/agent/ci/build/1/', null);
    await block('session', canonicalNames.session.toUpperCase(), null);
    await block('agent', 'everybody', null);
    await block('integration', 'orders-db', null);
    await pool.query(
      `INSERT INTO policy.sessions (id, organization, agent_id, kind, user_name, trust_rule, opened_at, expires_at)
       VALUES (gen_random_uuid(), 'acme', $1, 'agent', $2, 'r', now(), now() + interval '1 hour')`,
      [canonicalNames.agent, 'AD\u200bA@example.com\u200b'],
    );
    await migrate({ connectionString, schema: 'policy', directory: folder });
    const { rows } = await pool.query<{ subject_id: string; until: string | null }>(
      'SELECT subject_id, until::date::text AS until FROM policy.blocks ORDER BY subject_id',
    );
    expect(rows).toEqual([
      { subject_id: canonicalNames.session, until: null },
      { subject_id: 'ada@example.com', until: '2100-01-01' },
      { subject_id: 'orders-db', until: null },
      { subject_id: 'spiffe://acme.example/agent/ci/build/1', until: null },
      { subject_id: 'zo\u00eb@example.com', until: null },
    ]);
    const sessions = await pool.query('SELECT user_name FROM policy.sessions WHERE ended_at IS NULL');
    expect(sessions.rows).toEqual([{ user_name: 'ada@example.com' }]);
  });
});
