import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newEvent, PoisonMessage } from '@mayfly/messaging';
import { LogSession, verifyLog, type CheckpointVerifier } from '@mayfly/audit-log';
import { connectionStringFor, createPool, ensureServiceDatabase, migrate } from '@mayfly/postgres';
import type { MayflyEvent } from '@mayfly/contracts';
import pg, { type Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { migrationsDirectory } from '../audit.module.ts';
import { findLifecycle } from '../store/lease-lifecycle.ts';
import { prepareMonths } from '../store/partitions.ts';
import { findEvents } from '../store/query-events.ts';
import { WriteEvents } from './write-events.ts';

const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';
const database = `audit_${uuidv7().replaceAll('-', '').slice(-12)}`;
const role = `${database}_role`;
const password = 'only-for-this-test';

describe('the log', () => {
  let pools: Pool[];
  let writers: WriteEvents[];

  beforeAll(async () => {
    await ensureServiceDatabase(adminUrl, {
      database,
      services: [{ schema: 'audit', role, password }],
      auditor: { schema: 'audit' },
    });
    const connectionString = connectionStringFor(adminUrl, { role, password, database });
    await migrate({ connectionString, schema: 'audit', directory: migrationsDirectory });
    // Two replicas.
    pools = [1, 2].map(() =>
      createPool({
        connectionString,
        applicationName: 'test',
        max: 4,
        statementTimeoutMs: 10_000,
        connectionTimeoutMs: 5_000,
        onIdleError: () => undefined,
      }),
    );
    writers = pools.map((pool) => new WriteEvents(pool));
  });

  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    const admin = new pg.Client({ connectionString: adminUrl });
    await admin.connect();
    await admin.query(`DROP DATABASE ${database} WITH (FORCE)`);
    await admin.query(`DROP ROLE ${role}`);
    await admin.end();
  });

  const event = (reason = 'test', time = new Date()): MayflyEvent =>
    newEvent('policy', 'session.opened', { organization: 'acme', reason }, { id: uuidv7(), time });

  const pool = (): Pool => {
    const [first] = pools;
    if (first === undefined) throw new Error('no pool');
    return first;
  };

  /** Without checkpoints, there is nothing that a verifier of tokens is asked. */
  async function verification() {
    const session = await LogSession.open({
      connectionString: connectionStringFor(adminUrl, { role, password, database }),
      applicationName: 'test',
      statementTimeoutMs: 10_000,
    });
    try {
      const verifier = {} as CheckpointVerifier;
      return (await verifyLog({ session, verifier, ownerRole: role, whole: true })).findings.all;
    } finally {
      await session.close();
    }
  }

  const occurrences = async ({ id }: MayflyEvent) =>
    (await pool().query('SELECT FROM audit.event_log WHERE id = $1', [id])).rowCount;

  it('tells of a renewed lease its last end, how often and when', async () => {
    const lease_id = uuidv7();
    const lease = { organization: 'acme', lease_id, agent_id: 'spiffe://acme.example/agent/a/b/c' };
    const told = (type: 'credential.issued' | 'credential.renewed', at: string, more: object) =>
      newEvent('revocation', type, { ...lease, ...more }, { id: uuidv7(), time: new Date(at) });
    const find = async () => {
      const { rows: found } = await pool().query<Record<string, unknown>>(
        'SELECT expires_at, renewals, last_renewed_at FROM audit.live_credentials WHERE lease_id = $1',
        [lease_id],
      );
      return found;
    };
    await writers[0]?.execute([
      told('credential.issued', '2030-01-31T12:00:00Z', { expires_at: '2030-01-31T12:05:00.000Z' }),
    ]);
    expect(await find()).toEqual([
      { expires_at: new Date('2030-01-31T12:05:00Z'), renewals: 0, last_renewed_at: null },
    ]);
    const [first, second] = [
      told('credential.renewed', '2030-01-31T12:03:00Z', {
        expires_at: '2030-01-31T12:08:00.000Z',
        renewals: 1,
      }),
      told('credential.renewed', '2030-01-31T12:06:00Z', {
        expires_at: '2030-01-31T12:11:00.000Z',
        renewals: 2,
      }),
    ];
    await writers[0]?.execute([second]);
    await writers[0]?.execute([first]);
    expect(await find()).toEqual([
      {
        expires_at: new Date('2030-01-31T12:11:00Z'),
        renewals: 2,
        last_renewed_at: new Date('2030-01-31T12:06:00Z'),
      },
    ]);
  });

  it('tells of an ended lease whether what it left upstream has been removed', async () => {
    const lease_id = uuidv7();
    const lease = { organization: 'acme', lease_id, agent_id: 'spiffe://acme.example/agent/a/b/c' };
    const told = (type: Parameters<typeof newEvent>[1], at: string, more = {}) =>
      writers[0]?.execute([
        newEvent('revocation', type, { ...lease, ...more }, { id: uuidv7(), time: new Date(at) }),
      ]);
    const find = async () =>
      (
        await pool().query<Record<string, unknown>>(
          `SELECT how_ended, cleanup, cleanup_failed_at, cleaned_up_at FROM audit.credential_lifecycle WHERE lease_id = $1`,
          [lease_id],
        )
      ).rows;
    const never = { cleanup_failed_at: null, cleaned_up_at: null };
    await told('credential.issued', '2030-02-01T12:00:00Z');
    expect(await find()).toEqual([{ how_ended: null, cleanup: null, ...never }]);
    await told('credential.expired', '2030-02-01T12:05:00Z', { cleanup: 'pending' });
    expect(await find()).toEqual([{ how_ended: 'expired', cleanup: 'pending', ...never }]);
    await told('credential.cleanup_failed', '2030-02-01T12:05:01Z', { cleanup: 'pending' });
    await told('credential.cleaned_up', '2030-02-01T12:09:00Z', { cleanup: 'done' });
    expect(await find()).toEqual([
      {
        how_ended: 'expired',
        cleanup: 'done',
        cleanup_failed_at: new Date('2030-02-01T12:05:01Z'),
        cleaned_up_at: new Date('2030-02-01T12:09:00Z'),
      },
    ]);
    const lifecycle = await findLifecycle(pool(), 'acme', lease_id);
    expect(lifecycle).toMatchObject({ cleanup: 'done', cleaned_up_at: '2030-02-01T12:09:00.000Z' });
  });

  it('has an event once, however often and with whatever else it is delivered', async () => {
    const [first, second, third] = [event(), event(), event()];
    await writers[0]?.execute([first, second, first]);
    await writers[1]?.execute([second, third]);
    await Promise.all([writers[0]?.execute([first, third]), writers[1]?.execute([third, first])]);
    for (const one of [first, second, third]) expect(await occurrences(one)).toBe(1);
  });

  it('is one chain without gaps, however many replicas write at once', async () => {
    const batches = Array.from({ length: 40 }, (_, batch) =>
      Array.from({ length: 25 }, (_, n) => event(`${batch}.${n}`)),
    );
    await Promise.all(batches.map(async (batch, index) => writers[index % 2]?.execute(batch)));
    expect(await verification()).toEqual([]);
  });

  it('keeps its chain through jsonb, whatever text an event holds', async () => {
    const awkward = [
      '',
      '"',
      '\\',
      '\u00e9',
      '\ud83d\ude00',
      '\u2028',
      '1e400',
      '{"a":1}',
      "'; DROP TABLE audit.event_log; --",
      'x'.repeat(1024),
    ];
    await writers[0]?.execute(
      awkward.map((text) =>
        newEvent('policy', 'session.opened', {
          organization: 'acme',
          reason: text,
          scope: { [text === '' ? 'k' : text.slice(0, 100)]: [1, 1.5, -0, 1e21, true, null, text] },
        }),
      ),
    );
    expect(await verification()).toEqual([]);
  });

  it('says which event can not be stored, so that the others go on', async () => {
    const bad = event('a\u0000b');
    await expect(writers[0]?.execute([bad])).rejects.toBeInstanceOf(PoisonMessage);
    const good = event();
    await writers[0]?.execute([good]);
    expect(await occurrences(good)).toBe(1);
    expect(await verification()).toEqual([]);
  });

  it('takes events of any time, in months prepared or not', async () => {
    await Promise.all(pools.map((each) => prepareMonths(each)));
    await prepareMonths(pool());
    const times = [new Date(), new Date('1999-12-31T23:59:59.999Z'), new Date('2199-01-01T00:00:00.000Z')];
    const events = times.map((time) => event('time', time));
    await writers[0]?.execute(events);
    for (const one of events) expect(await occurrences(one)).toBe(1);
    expect(await verification()).toEqual([]);
  });

  it('prepares whole months in UTC, whatever the time zone of the server', async () => {
    const client = await pool().connect();
    await client.query(
      `SET timezone = 'America/New_York'; SELECT audit.prepare_month('2031-03-15'); SET timezone = 'Asia/Tokyo'; SELECT audit.prepare_month('2031-04-15')`,
    );
    const { rows: bounds } = await client
      .query<{ bound: string }>(
        `SET timezone = 'UTC'; SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class WHERE relname = 'event_log_2031_03'` as string,
      )
      .then((result) => (Array.isArray(result) ? result[1] : result) as { rows: { bound: string }[] });
    client.release(true);
    expect(bounds[0]?.bound).toBe("FOR VALUES FROM ('2031-03-01 00:00:00+00') TO ('2031-04-01 00:00:00+00')");
  });

  it('finds by a trace what happened in it and what it caused in the traces of others', async () => {
    const [asking, leases] = ['a'.repeat(32), 'b'.repeat(32)];
    const told = (type: 'revocation.requested' | 'credential.revoked', traces: object) =>
      newEvent('revocation', type, { organization: 'traced', ...traces }, { id: uuidv7(), time: new Date() });
    const asked = told('revocation.requested', { trace_id: asking, event_trace_id: asking });
    const ended = told('credential.revoked', { trace_id: leases, event_trace_id: asking });
    const other = told('credential.revoked', { trace_id: leases, event_trace_id: 'c'.repeat(32) });
    await writers[0]?.execute([asked, ended, other]);
    const found = async (trace_id: string) =>
      (await findEvents(pool(), 'traced', { trace_id, limit: 10 })).map(({ id }) => id);
    expect(await found(asking)).toEqual([asked.id, ended.id]);
    expect(await found(leases)).toEqual([ended.id, other.id]);
  });

  it('answers queries of an organization with its own events alone, a page at a time', async () => {
    await writers[0]?.execute(
      Array.from({ length: 5 }, (_, n) =>
        newEvent('policy', 'session.opened', { organization: 'globex', reason: `${n}` }),
      ),
    );
    const first = await findEvents(pool(), 'globex', { limit: 3 });
    const rest = await findEvents(pool(), 'globex', { limit: 3, after: first.at(-1)?.seq ?? 0 });
    expect([...first, ...rest].map(({ reason }) => reason)).toEqual(['0', '1', '2', '3', '4']);
    expect(new Set([...first, ...rest].map(({ organization }) => organization))).toEqual(new Set(['globex']));
  });
});
