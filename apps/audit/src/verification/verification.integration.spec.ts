/** The schedule on a real Postgres: what it reads, when, by whom, and what it tells. */
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { LogSession, verifyLog, type VerifiedThrough } from '@mayfly/audit-log';
import { newEvent } from '@mayfly/messaging';
import {
  connectionStringFor,
  createPool,
  ensureServiceDatabase,
  inDatabase,
  migrate,
} from '@mayfly/postgres';
import { createLogger } from '@mayfly/telemetry';
import {
  loadSigningKeys,
  loadVerificationKeys,
  tokenKinds,
  TokenSigner,
  TokenVerifier,
} from '@mayfly/tokens';
import pg, { type Pool } from 'pg';
import { Registry } from 'prom-client';
import { v7 as uuidv7 } from 'uuid';
import { migrationsDirectory } from '../audit.module.ts';
import { CheckpointFile } from '../checkpoints/checkpoint-file.ts';
import { CheckpointsContradict, MakeCheckpoint } from '../checkpoints/make-checkpoint.ts';
import { WriteEvents } from '../log/write-events.ts';
import { prepareMonths } from '../store/partitions.ts';
import { VerificationRecord } from './verification-record.ts';
import { VerifyOnSchedule } from './verify-on-schedule.ts';

const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';
const database = `verified_${uuidv7().replaceAll('-', '').slice(-12)}`;
const role = `${database}_role`;
const password = 'only-for-this-test';
const hour = 3_600_000;

describe('the verification by schedule', () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-verification-'));
  const checkpointFile = join(folder, 'checkpoints.jsonl');
  const connectionString = adminUrl === '' ? '' : connectionStringFor(adminUrl, { role, password, database });
  let pool: Pool;
  let superuser: pg.Client;
  let makeCheckpoint: MakeCheckpoint;
  let open: VerifyOnSchedule[] = [];

  beforeAll(async () => {
    await ensureServiceDatabase(adminUrl, {
      database,
      services: [{ schema: 'audit', role, password }],
      auditor: { schema: 'audit' },
    });
    await migrate({ connectionString, schema: 'audit', directory: migrationsDirectory });
    pool = createPool({
      connectionString,
      applicationName: 'test',
      max: 4,
      statementTimeoutMs: 10_000,
      connectionTimeoutMs: 5_000,
      onIdleError: () => undefined,
    });
    await prepareMonths(pool);
    superuser = new pg.Client({ connectionString: inDatabase(adminUrl, database) });
    await superuser.connect();
    const { privateKey } = generateKeyPairSync('ed25519');
    const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA', use: 'sig' };
    const published = { ...jwk, d: undefined };
    writeFileSync(join(folder, 'private.json'), JSON.stringify({ keys: [jwk] }), { mode: 0o600 });
    writeFileSync(join(folder, 'public.json'), JSON.stringify({ keys: [published] }));
    makeCheckpoint = await checkpoints();
  });

  afterAll(async () => {
    await stopAll();
    await superuser.end();
    await pool.end();
    const admin = new pg.Client({ connectionString: adminUrl });
    await admin.connect();
    await admin.query(`DROP DATABASE ${database} WITH (FORCE)`);
    await admin.query(`DROP ROLE ${role}`);
    await admin.end();
    rmSync(folder, { recursive: true, force: true });
  });

  beforeEach(stopAll);

  async function stopAll(): Promise<void> {
    await Promise.all(open.map((schedule) => schedule.stop()));
    open = [];
  }

  async function checkpoints(): Promise<MakeCheckpoint> {
    const signer = new TokenSigner(
      tokenKinds.checkpoint,
      await loadSigningKeys(join(folder, 'private.json')),
    );
    return new MakeCheckpoint(pool, signer, new CheckpointFile(checkpointFile));
  }

  /** A replica, with its metrics. */
  async function replica(record = `${checkpointFile}.verified`, fullIntervalMs = 24 * hour) {
    const metrics = new Registry();
    const schedule = new VerifyOnSchedule({
      connectionString,
      checkpointFile,
      verifier: new TokenVerifier(
        tokenKinds.checkpoint,
        await loadVerificationKeys(join(folder, 'public.json')),
      ),
      record: new VerificationRecord(record),
      logger: createLogger({ service: 'audit', level: 'silent' }),
      metrics,
      intervalMs: 60_000,
      fullIntervalMs,
    });
    open.push(schedule);
    return { schedule, metrics };
  }

  async function write(count: number): Promise<void> {
    const events = Array.from({ length: count }, (_, n) =>
      newEvent(
        'policy',
        'session.opened',
        { organization: 'acme', reason: `${n}`, ttl_seconds: n },
        { id: uuidv7(), time: new Date() },
      ),
    );
    await new WriteEvents(pool).execute(events);
    await makeCheckpoint.execute(new Date());
  }

  /** Past the triggers, as somebody who rules Postgres would. */
  const tamper = (sql: string) =>
    superuser.query(`SET session_replication_role = replica; ${sql}; RESET session_replication_role`);

  const metric = async (metrics: Registry, name: string) =>
    (await metrics.getSingleMetric(name)?.get())?.values ?? [];

  it('begins with the whole log, goes on with what is new, and reads everything again when that is due', async () => {
    await write(450);
    const { schedule, metrics } = await replica();
    const now = Date.now();
    expect(await schedule.verify(new Date(now))).toMatchObject({ rows: 450 });
    await write(20);
    expect(await schedule.verify(new Date(now + hour))).toMatchObject({ rows: 20, checkpoints: 2 });
    expect(await schedule.verify(new Date(now + 25 * hour))).toMatchObject({ rows: 470 });
    const at = await metric(metrics, 'mayfly_audit_verified_timestamp_seconds');
    expect(at.map(({ labels, value }) => [labels['scope'], value])).toEqual([
      ['recent', (now + 25 * hour) / 1000],
      ['full', (now + 25 * hour) / 1000],
    ]);
    await stopAll();
    // Another process goes on from there.
    expect(await (await replica()).schedule.verify(new Date(now + 26 * hour))).toMatchObject({ rows: 0 });
  });

  it('finds a change among what is new at once, and tells of it for as long as it is there', async () => {
    await write(5);
    const { schedule, metrics } = await replica();
    const seq = (await pool.query<{ seq: string }>('SELECT max(seq) AS seq FROM audit.event_log')).rows[0]
      ?.seq;
    const event = `(SELECT event FROM audit.event_log WHERE seq = ${seq})`;
    await superuser.query(`CREATE TABLE public.kept AS SELECT ${event} AS event`);
    await tamper(
      `UPDATE audit.event_log SET event = jsonb_set(event, '{data,reason}', '"none"') WHERE seq = ${seq}`,
    );
    for (const pass of [1, 2]) {
      const report = await schedule.verify(new Date(Date.now() + pass));
      expect(report?.findings.all).toMatchObject([{ problem: 'changed', seq: Number(seq) }]);
    }
    const findings = await metric(metrics, 'mayfly_audit_findings');
    expect(findings.filter(({ value }) => value > 0)).toMatchObject([
      { labels: { problem: 'changed' }, value: 1 },
    ]);
    await tamper(
      `UPDATE audit.event_log SET event = (SELECT event FROM public.kept) WHERE seq = ${seq}; DROP TABLE public.kept`,
    );
    expect((await schedule.verify(new Date()))?.findings.total).toBe(0);
    expect((await metric(metrics, 'mayfly_audit_findings')).filter(({ value }) => value > 0)).toEqual([]);
  });

  it('finds an old change with the next whole reading, and then reads the whole until it is gone, in another process too', async () => {
    const { schedule } = await replica();
    const now = Date.now();
    await schedule.verify(new Date(now));
    await tamper(`UPDATE audit.event_log SET recorded_at = recorded_at + interval '1 hour' WHERE seq = 7`);
    expect((await schedule.verify(new Date(now + hour)))?.findings.total).toBe(0);
    expect((await schedule.verify(new Date(now + 50 * hour)))?.findings.all).toMatchObject([{ seq: 7 }]);
    expect((await schedule.verify(new Date(now + 51 * hour)))?.findings.all).toMatchObject([{ seq: 7 }]);
    await stopAll();
    const { schedule: next } = await replica();
    expect((await next.verify(new Date(now + 52 * hour)))?.findings.all).toMatchObject([{ seq: 7 }]);
    await tamper(`UPDATE audit.event_log SET recorded_at = recorded_at - interval '1 hour' WHERE seq = 7`);
    expect((await next.verify(new Date(now + 53 * hour)))?.findings.total).toBe(0);
  });

  it('is done by one replica; another takes over when its connection has ended', async () => {
    const [one, other] = [await replica(), await replica(join(folder, 'other.verified'))];
    expect(await one.schedule.verify(new Date())).toBeDefined();
    expect(await other.schedule.verify(new Date())).toBeUndefined();
    await one.schedule.stop();
    expect(await other.schedule.verify(new Date())).toBeDefined();
  });

  it('goes on signing, verifying and making months while another role holds every advisory lock of their numbers', async () => {
    const stranger = new pg.Client({ connectionString: inDatabase(adminUrl, database) });
    await stranger.connect();
    try {
      await stranger.query('SELECT pg_advisory_lock(n) FROM generate_series(7340032, 7340034) AS n');
      const before = readFileSync(checkpointFile, 'utf8').split('\n').length;
      await write(1);
      expect(readFileSync(checkpointFile, 'utf8').split('\n').length).toBe(before + 1);
      await prepareMonths(pool);
      expect(await (await replica()).schedule.verify(new Date())).toBeDefined();
    } finally {
      await stranger.end();
    }
  });

  it('finds a role that may act as the owner', async () => {
    await superuser.query(`CREATE ROLE ${role}_friend; GRANT ${role} TO ${role}_friend`);
    try {
      expect((await (await replica()).schedule.verify(new Date()))?.findings.all).toMatchObject([
        { problem: 'definition', object: `member ${role}_friend of {owner}` },
      ]);
    } finally {
      await superuser.query(`DROP ROLE ${role}_friend`);
    }
  });

  it('tells nothing any more of what a replica found before another took its turn', async () => {
    await write(1);
    const records = [join(folder, 'lost.verified'), join(folder, 'took.verified')];
    const [one, other] = [await replica(records[0]), await replica(records[1])];
    // The first recalls what an earlier process found, and verifies nothing.
    await one.schedule.pass();
    await tamper(`UPDATE audit.event_log SET recorded_at = recorded_at + interval '1 hour' WHERE seq = 7`);
    expect((await one.schedule.verify(new Date()))?.findings.total).toBeGreaterThan(0);
    await superuser.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mayfly-audit-verification'`,
    );
    await one.schedule.pass();
    expect((await metric(one.metrics, 'mayfly_audit_findings')).some(({ value }) => value > 0)).toBe(true);
    await tamper(`UPDATE audit.event_log SET recorded_at = recorded_at - interval '1 hour' WHERE seq = 7`);
    await other.schedule.verify(new Date());
    expect(await one.schedule.verify(new Date())).toBeUndefined();
    expect((await metric(one.metrics, 'mayfly_audit_findings')).filter(({ value }) => value > 0)).toEqual([]);
  });

  it('finds a row that an earlier verification has seen gone, although nothing in Postgres or the file remembers it', async () => {
    const record = join(folder, 'seen.verified');
    const { schedule } = await replica(record);
    await schedule.verify(new Date());
    const seen = JSON.parse(readFileSync(record, 'utf8')) as { row: { seq: number; hash: string } };
    seen.row.seq += 1_000;
    writeFileSync(record, JSON.stringify(seen));
    expect((await schedule.verify(new Date()))?.findings.all).toContainEqual(
      expect.objectContaining({ problem: 'truncated', seq: seen.row.seq }),
    );
  });

  it.each(['checkpoints', 'file'])(
    'is not confused by checkpoints that are written while it reads the %s',
    async (step) => {
      const session = await LogSession.open({
        connectionString,
        applicationName: 'test',
        statementTimeoutMs: 10_000,
      });
      const verifier = new TokenVerifier(
        tokenKinds.checkpoint,
        await loadVerificationKeys(join(folder, 'public.json')),
      );
      let reading = '';
      const pass = (seen?: VerifiedThrough, meanwhile?: () => Promise<void>) =>
        verifyLog({
          session,
          verifier,
          checkpointFile,
          ownerRole: role,
          whole: seen === undefined,
          seen,
          onProgress: (progress) => (reading = progress.step),
          pace: async () => {
            if (reading === step) await meanwhile?.();
          },
        });
      try {
        let seen: VerifiedThrough | undefined;
        for (let round = 0; round < 4; round++) {
          const report = await pass(seen, () => write(2));
          expect(report.findings.all).toEqual([]);
          seen = report.through;
        }
        expect((await pass(seen)).findings.all).toEqual([]);
      } finally {
        await session.close();
      }
    },
  );

  it('says in a metric that it could not be done, and tries again', async () => {
    const { schedule, metrics } = await replica(join(folder, 'failed.verified'));
    await schedule.pass();
    const file = readFileSync(checkpointFile);
    rmSync(checkpointFile);
    expect(await schedule.pass()).toBeGreaterThanOrEqual(60_000);
    writeFileSync(checkpointFile, file);
    await schedule.pass();
    const outcomes = await metric(metrics, 'mayfly_audit_verifications_total');
    expect(outcomes.map(({ labels, value }) => [labels['outcome'], value])).toEqual([
      ['failed', 1],
      ['intact', 1],
    ]);
  });

  it('rests for most of the time, and gives up at once when it is to stop', async () => {
    await write(2_000);
    const { schedule } = await replica(join(folder, 'stopped.verified'));
    const verifying = schedule.verify(new Date());
    const given = expect(verifying).rejects.toThrow();
    await schedule.stop();
    await given;
    expect(existsSync(join(folder, 'stopped.verified'))).toBe(false);
  });

  it('has no checkpoint signed over a log that was cut back together with its checkpoints', async () => {
    await write(3);
    await write(3);
    const lines = readFileSync(checkpointFile, 'utf8');
    await tamper(`
      DELETE FROM audit.checkpoint WHERE seq = (SELECT max(seq) FROM audit.checkpoint);
      UPDATE audit.chain_head SET seq = c.seq, hash = c.hash FROM audit.checkpoint AS c WHERE c.seq = (SELECT max(seq) FROM audit.checkpoint);
      DELETE FROM audit.event_log WHERE seq > (SELECT seq FROM audit.chain_head)`);
    // A service that has just started, and one that has been running.
    for (const make of [await checkpoints(), makeCheckpoint]) {
      await new WriteEvents(pool).execute([newEvent('policy', 'session.opened', { organization: 'acme' })]);
      await expect(make.execute(new Date())).rejects.toBeInstanceOf(CheckpointsContradict);
    }
    expect(readFileSync(checkpointFile, 'utf8')).toBe(lines);
    // The file is put aside by whoever has looked into it.
    rmSync(checkpointFile);
    await makeCheckpoint.execute(new Date());
    expect(readFileSync(checkpointFile, 'utf8').split('\n').length).toBeGreaterThan(2);
  });
});
