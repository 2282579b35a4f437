/**
 * I8: the audit log is append-only and chained; signed checkpoints, also outside Postgres, make a changed, removed, reordered or
 * truncated row visible and located. Somebody with all rights in Postgres tampers; `mayfly audit verify` says what it sees.
 */
import { execFile } from 'node:child_process';
import { appendFileSync, copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chainHash } from '@mayfly/domain';
import { repositoryRoot, waitUntil, type DevelopmentStack } from '@mayfly/stack';
import { openSession, startWholeStack } from '@mayfly/testing';
import pg from 'pg';

const run = promisify(execFile);
const within = { deadlineMs: 30_000 };

interface Verdict {
  readonly outcome: 'intact' | 'broken';
  readonly seq?: number;
  readonly problem?: string;
  readonly rows?: number;
  readonly checkpoints?: number;
}

describe('I8: the audit log', () => {
  let stack: DevelopmentStack;
  let database: pg.Client;
  let end: number;
  let fileBefore: string;
  let firstCheckpoint: number;

  beforeAll(async () => {
    stack = await startWholeStack({ env: { audit: { MAYFLY_CHECKPOINT_MS: '300' } } });
    database = new pg.Client({ connectionString: stack.postgres.databaseUrl });
    await database.connect();
    const agent = await openSession(stack);
    for (let round = 0; round < 4; round++) {
      await agent.giveBack((await agent.lease('orders-db/readonly')).lease_id);
      await agent.lease('orders-db/writer').catch(() => undefined);
      const before = await checkpoints();
      await waitUntil('a checkpoint', async () => (await checkpoints()) > before, within);
    }
    // From here on nothing writes but the attacker.
    await stack.services.audit.stop();
    end = Number(
      (await database.query<{ seq: string }>('SELECT max(seq) AS seq FROM audit.event_log')).rows[0]?.seq,
    );
    firstCheckpoint = Number(
      (await database.query<{ seq: string }>('SELECT min(seq) AS seq FROM audit.checkpoint')).rows[0]?.seq,
    );
    fileBefore = readFileSync(stack.checkpointFile, 'utf8');
    for (const table of ['event_log', 'checkpoint', 'chain_head']) {
      await database.query(`CREATE TABLE public.kept_${table} AS TABLE audit.${table}`);
    }
  }, 120_000);

  afterAll(async () => {
    await database.end();
    await stack.stop();
  });

  const checkpoints = async () => (await database.query('SELECT FROM audit.checkpoint')).rowCount ?? 0;

  /** What `mayfly audit verify` says, run as a person would. */
  async function verify(): Promise<{ verdict: Verdict; status: number; text: string }> {
    const program = join(repositoryRoot(), 'apps', 'cli', 'bin', 'mayfly.js');
    const args = [
      ...[
        'audit',
        'verify',
        '--database-url',
        stack.postgres.auditorUrl,
        '--checkpoints',
        stack.checkpointFile,
      ],
      ...['--keys', join(stack.keysFolder, 'public', 'checkpoint.jwks.json')],
    ];
    const asked = async (more: string[]) => {
      try {
        return { stdout: (await run(process.execPath, [program, ...args, ...more])).stdout, status: 0 };
      } catch (error) {
        const { stdout, code } = error as { stdout: string; code: number };
        return { stdout, status: code };
      }
    };
    const { stdout, status } = await asked(['--json']);
    return { verdict: JSON.parse(stdout) as Verdict, status, text: (await asked([])).stdout };
  }

  /** As the owner of everything: what the triggers refuse is switched off first. */
  async function tamper(...statements: string[]): Promise<void> {
    await database.query(
      ['SET session_replication_role = replica', ...statements, 'RESET session_replication_role'].join(';'),
    );
  }

  async function restore(): Promise<void> {
    await tamper(
      'DELETE FROM audit.event_log',
      `INSERT INTO audit.event_log (seq, id, time, recorded_at, event, hash) SELECT seq, id, time, recorded_at, event, hash FROM public.kept_event_log`,
      'DELETE FROM audit.checkpoint',
      'INSERT INTO audit.checkpoint SELECT * FROM public.kept_checkpoint',
      'DELETE FROM audit.chain_head',
      'INSERT INTO audit.chain_head SELECT * FROM public.kept_chain_head',
    );
    writeFileSync(stack.checkpointFile, fileBefore);
  }

  it('is intact when nobody has touched it', async () => {
    const { verdict, status, text } = await verify();
    expect(verdict).toMatchObject({ outcome: 'intact', rows: end });
    expect(verdict.checkpoints).toBeGreaterThan(6);
    expect(status).toBe(0);
    expect(text).toMatch(/^intact: /);
  });

  it.each([
    ['changing an event', 'UPDATE audit.event_log SET event = event WHERE seq = 1'],
    ['removing an event', 'DELETE FROM audit.event_log WHERE seq = 1'],
    ['emptying the log', 'TRUNCATE audit.event_log'],
    ['changing a checkpoint', 'UPDATE audit.checkpoint SET at = now()'],
  ])('refuses %s, also to its owner', async (_what, statement) => {
    await database.query('BEGIN; SET LOCAL ROLE mayfly_audit');
    await expect(database.query(statement)).rejects.toThrow('append-only');
    await database.query('ROLLBACK');
  });

  it.each<[string, (end: number) => string[], { seq: (end: number) => number; problem: string }]>([
    [
      'who asked is changed',
      () => [
        `UPDATE audit.event_log SET event = jsonb_set(event, '{data,agent_id}', '"spiffe://acme.example/agent/x/y/z"') WHERE seq = 5`,
      ],
      { seq: () => 5, problem: 'changed' },
    ],
    [
      'a time is changed',
      () => [`UPDATE audit.event_log SET recorded_at = recorded_at - interval '1 day' WHERE seq = 5`],
      { seq: () => 5, problem: 'changed' },
    ],
    [
      'an id beside its event is changed',
      () => ['UPDATE audit.event_log SET id = gen_random_uuid() WHERE seq = 5'],
      { seq: () => 5, problem: 'changed' },
    ],
    [
      'a row is removed',
      () => ['DELETE FROM audit.event_log WHERE seq = 6'],
      { seq: () => 6, problem: 'missing' },
    ],
    [
      'a row is removed and the others moved up',
      () => [
        'DELETE FROM audit.event_log WHERE seq = 6',
        'UPDATE audit.event_log SET seq = seq - 1 WHERE seq > 6',
        'UPDATE audit.chain_head SET seq = seq - 1',
      ],
      { seq: () => 6, problem: 'changed' },
    ],
    [
      'two rows change places',
      () => [
        'UPDATE audit.event_log SET seq = -1 WHERE seq = 7',
        'UPDATE audit.event_log SET seq = 7 WHERE seq = 8',
        'UPDATE audit.event_log SET seq = 8 WHERE seq = -1',
      ],
      { seq: () => 7, problem: 'changed' },
    ],
    [
      'the end is cut off, and the log says that it ends there',
      (last) => [
        `DELETE FROM audit.event_log WHERE seq > ${last - 2}`,
        `DELETE FROM audit.checkpoint WHERE seq > ${last - 2}`,
        `UPDATE audit.chain_head SET seq = ${last - 2}, hash = (SELECT hash FROM audit.event_log WHERE seq = ${last - 2})`,
      ],
      { seq: (last) => last - 1, problem: 'truncated' },
    ],
    [
      'everything is removed',
      () => [
        'DELETE FROM audit.event_log',
        'DELETE FROM audit.checkpoint',
        'UPDATE audit.chain_head SET seq = 0',
      ],
      { seq: () => 1, problem: 'truncated' },
    ],
    [
      'a checkpoint is forged',
      () => [`UPDATE audit.checkpoint SET token = left(token, -8) || 'AAAAAAAA'`],
      { seq: () => firstCheckpoint, problem: 'changed' },
    ],
  ])('shows it when %s', async (_what, statements, expected) => {
    await tamper(...statements(end));
    const { verdict, status, text } = await verify();
    await restore();
    expect(verdict).toMatchObject({ outcome: 'broken', seq: expected.seq(end), problem: expected.problem });
    expect(status).toBe(1);
    expect(text).toContain(`BROKEN at row ${expected.seq(end)}`);
  });

  it('shows it when rows are rewritten with fitting hashes and checkpoints removed: the file knows better', async () => {
    const { rows } = await database.query<{
      seq: string;
      recorded_at: Date;
      event: Record<string, unknown>;
      hash: Buffer;
    }>('SELECT seq, recorded_at, event, hash FROM audit.event_log ORDER BY seq');
    const from = 4;
    let previous: Uint8Array = rows[from - 2]?.hash ?? new Uint8Array(32);
    const statements: string[] = [];
    for (const row of rows.slice(from - 1)) {
      const event = {
        ...row.event,
        data: { ...(row.event['data'] as object), reason: 'nothing to see here' },
      };
      previous = chainHash(previous, { seq: Number(row.seq), recordedAt: row.recorded_at, event });
      const json = JSON.stringify(event).replaceAll("'", "''");
      statements.push(
        `UPDATE audit.event_log SET event = '${json}', hash = '\\x${Buffer.from(previous).toString('hex')}' WHERE seq = ${row.seq}`,
      );
    }
    await tamper(...statements, `DELETE FROM audit.checkpoint WHERE seq >= ${from}`);
    const { verdict } = await verify();
    await restore();
    expect(verdict).toMatchObject({ outcome: 'broken', problem: 'rewritten' });
    expect(verdict.seq).toBeGreaterThanOrEqual(from);
  });

  it('stays intact when a crash has cut off the last line of the file', async () => {
    copyFileSync(stack.checkpointFile, `${stack.checkpointFile}.kept`);
    appendFileSync(stack.checkpointFile, 'eyJhbGciOiJFZERTQSJ9.eyJz');
    const { verdict } = await verify();
    copyFileSync(`${stack.checkpointFile}.kept`, stack.checkpointFile);
    expect(verdict).toMatchObject({ outcome: 'intact' });
  });

  it('lets the auditor read its views and do nothing else', async () => {
    const auditor = new pg.Client({ connectionString: stack.postgres.auditorUrl });
    await auditor.connect();
    const refused = (sql: string) => expect(auditor.query(sql)).rejects.toMatchObject({ code: '42501' });
    for (const view of [
      'events',
      'credential_lifecycle',
      'live_credentials',
      'denials',
      'checkpoints',
      'chain_end',
    ]) {
      await auditor.query(`SELECT * FROM audit.${view} LIMIT 1`);
    }
    // The verification reads the tables themselves; there is nothing more in them.
    await auditor.query('SELECT FROM audit.event_log LIMIT 1');
    await refused('DELETE FROM audit.event_log');
    await refused('SELECT * FROM audit.event_log_default');
    await refused('SELECT * FROM policy.sessions');
    await refused('SELECT * FROM revocation.leases');
    await refused('DELETE FROM audit.events');
    await refused('CREATE TABLE public.x ()');
    await auditor.end();
  });
});
