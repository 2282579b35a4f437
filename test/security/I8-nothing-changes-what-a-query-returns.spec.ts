/**
 * I8: whoever has every right in Postgres can hide rows from queries, or change what they return, without touching the chain:
 * `mayfly audit verify` says so, and names what was changed. The ways are in log-tampering/tamperings.ts.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { repositoryRoot, waitUntil, type DevelopmentStack } from '@mayfly/stack';
import { openSession, startWholeStack } from '@mayfly/testing';
import { LogCopier, withClient, type CopiedLog } from './log-tampering/copied-log.ts';
import { tamperings, type Victim } from './log-tampering/tamperings.ts';

const run = promisify(execFile);
const within = { deadlineMs: 30_000 };

interface Verdict {
  readonly outcome: 'intact' | 'broken';
  readonly findings?: readonly object[];
}

describe('I8: nothing changes what a query of the log returns unseen', () => {
  let stack: DevelopmentStack;
  let copier: LogCopier;
  let victim: Victim;

  beforeAll(async () => {
    stack = await startWholeStack({
      env: { audit: { MAYFLY_CHECKPOINT_MS: '200', MAYFLY_AUDIT_VERIFY_INTERVAL: '1s' } },
    });
    const source = stack.postgres.databaseUrl;
    const one = async (sql: string) =>
      (await withClient(source, (client) => client.query<Record<string, string>>(sql))).rows[0];
    const agent = await openSession(stack);
    for (let round = 0; round < 4; round++) {
      // Asked for first, because the checkpoint may come before the answer does.
      const before = await one('SELECT count(*) FROM audit.checkpoint');
      await agent.giveBack((await agent.lease('orders-db/readonly')).lease_id);
      await waitUntil(
        'a checkpoint',
        async () => (await one('SELECT count(*) FROM audit.checkpoint'))?.['count'] !== before?.['count'],
        within,
      );
    }
    await waitUntil(
      'a checkpoint of all rows',
      async () =>
        (
          await one(
            'SELECT count(*) AS later FROM audit.event_log WHERE seq > (SELECT max(seq) FROM audit.checkpoint)',
          )
        )?.['later'] === '0',
      within,
    );
    // The service has verified it by itself meanwhile, and says how far it has come.
    await waitUntil(
      'a verification',
      () => Promise.resolve(existsSync(`${stack.checkpointFile}.verified`)),
      within,
    );
    await stack.services.audit.stop();
    const row = await one(
      `SELECT seq, lease_id, agent_id, tableoid::regclass::text AS partition, (SELECT max(seq) FROM audit.event_log) AS last
       FROM audit.event_log WHERE type = 'credential.intended' ORDER BY seq LIMIT 1`,
    );
    victim = {
      lease: row?.['lease_id'] ?? '',
      agent: row?.['agent_id'] ?? '',
      seq: Number(row?.['seq']),
      end: Number(row?.['last']),
      partition: (row?.['partition'] ?? '').replace('audit.', ''),
    };
    const auditor = new URL(stack.postgres.auditorUrl).password;
    copier = await LogCopier.open(
      stack.postgres.adminUrl,
      source,
      decodeURIComponent(auditor),
      randomBytes(12).toString('hex'),
    );
  }, 120_000);

  afterAll(() => stack.stop());

  /** What `mayfly audit verify --json` says, run as an auditor would. */
  async function verify({ auditorUrl }: CopiedLog, checkpoints = stack.checkpointFile) {
    const program = join(repositoryRoot(), 'apps', 'cli', 'bin', 'mayfly.js');
    const places = [
      '--checkpoints',
      checkpoints,
      '--keys',
      join(stack.keysFolder, 'public', 'checkpoint.jwks.json'),
    ];
    const env = { ...process.env, MAYFLY_AUDIT_DATABASE_URL: auditorUrl };
    try {
      const { stdout } = await run(process.execPath, [program, 'audit', 'verify', ...places, '--json'], {
        env,
      });
      return { status: 0, verdict: JSON.parse(stdout) as Verdict };
    } catch (error) {
      const { stdout, code } = error as { stdout: string; code: number };
      return { status: code, ...(stdout !== '' && { verdict: JSON.parse(stdout) as Verdict }) };
    }
  }

  /** The answer to an auditor's query; an error is an answer, too. */
  const ask = ({ auditorUrl }: CopiedLog, query: string) =>
    withClient(auditorUrl, async (client) => {
      const answers = [await client.query<Record<string, unknown>>(query)].flat();
      return JSON.stringify(answers.at(-1)?.rows);
    }).catch((error: Error) => error.message);

  const doAsSuperuser = ({ superuserUrl, database }: CopiedLog, statements: readonly string[]) =>
    withClient(superuserUrl, async (client) => {
      // An aggregate needs a function that counts nothing.
      await client.query(
        `CREATE FUNCTION public.audit_nothing(int8, text) RETURNS int8 LANGUAGE sql IMMUTABLE AS 'SELECT $1'; GRANT USAGE ON SCHEMA public TO PUBLIC`,
      );
      for (const statement of statements) await client.query(statement.replaceAll('{database}', database));
    });

  it('finds a log that nobody has touched intact', async () => {
    const { status, verdict } = await verify(await copier.copy());
    expect(verdict).toMatchObject({ outcome: 'intact', rows: victim.end });
    expect(status).toBe(0);
  });

  it('was verified by the service itself, too', () => {
    const verified = JSON.parse(readFileSync(`${stack.checkpointFile}.verified`, 'utf8')) as {
      row: { seq: number };
    };
    expect(verified.row.seq).toBeGreaterThan(0);
    expect(verified).toHaveProperty('full_at');
  });

  it.each(tamperings)('finds it when $way ($kind)', async ({ statements, query, finds }) => {
    const copy = await copier.copy();
    const before = query === undefined ? undefined : await ask(copy, query(victim));
    await doAsSuperuser(copy, statements(victim));
    if (query !== undefined) expect(await ask(copy, query(victim))).not.toBe(before);
    const { status, verdict } = await verify(copy);
    expect(status).toBe(1);
    const { differences, ...finding } = finds(victim) as { differences?: object[] };
    expect(verdict?.findings).toContainEqual(
      expect.objectContaining({
        ...finding,
        ...(differences !== undefined && {
          differences: expect.arrayContaining(
            differences.map((each) => expect.objectContaining(each) as unknown),
          ) as unknown,
        }),
      }),
    );
  });

  it('finds a checkpoint that was taken out of Postgres and of the file alike, by the one that follows it', async () => {
    const copy = await copier.copy();
    const lines = readFileSync(stack.checkpointFile, 'utf8').trimEnd().split('\n');
    const [gone, next] = [lines[1] ?? '', lines[2] ?? ''];
    const seqOf = (token: string) =>
      (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8')) as { seq: number })
        .seq;
    await doAsSuperuser(copy, [
      'SET session_replication_role = replica',
      `DELETE FROM audit.checkpoint WHERE seq = ${seqOf(gone)}`,
    ]);
    const shorter = `${stack.checkpointFile}.shorter`;
    writeFileSync(shorter, `${lines.filter((line) => line !== gone).join('\n')}\n`);
    const { status, verdict } = await verify(copy, shorter);
    expect(status).toBe(1);
    for (const where of ['Postgres', 'the file']) {
      expect(verdict?.findings).toContainEqual(
        expect.objectContaining({ problem: 'missing', object: `checkpoint ${seqOf(next)} in ${where}` }),
      );
    }
  });

  it('takes a line that a crash has cut off, with its whole after it, for what it is', async () => {
    const copy = await copier.copy();
    const lines = readFileSync(stack.checkpointFile, 'utf8').trimEnd().split('\n');
    const crashed = `${stack.checkpointFile}.crashed`;
    writeFileSync(crashed, `${[lines[0], (lines[1] ?? '').slice(0, 40), ...lines.slice(1)].join('\n')}\n`);
    expect((await verify(copy, crashed)).verdict).toMatchObject({ outcome: 'intact' });
  });
});
