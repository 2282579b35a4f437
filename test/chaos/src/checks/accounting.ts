/** The reckoning at the end of a run: what left against what was written down. */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { repositoryRoot, type DevelopmentStack } from '@mayfly/stack';
import { filesBelow, sweep } from '@mayfly/testing/secret-sweep';
import type { Ledger } from '../load/ledger.ts';
import type { Register } from './register.ts';

/** One statement about the whole run. */
export interface Check {
  readonly name: string;
  readonly problems: readonly string[];
  /** What was looked at, in a few words. */
  readonly note?: string;
}

/** Events that the log still lacks: issues, last renewals and ends that the register knows, of leases that were released or not. */
const missingEvents = `
  SELECT l.lease_id, l.state FROM revocation.leases l
  WHERE (l.granted_at IS NOT NULL AND NOT EXISTS (
           SELECT FROM audit.event_log e WHERE e.lease_id = l.lease_id AND e.type = 'credential.issued'))
     OR (l.last_renewed_at IS NOT NULL AND NOT EXISTS (
           SELECT FROM audit.event_log e WHERE e.lease_id = l.lease_id AND e.type = 'credential.renewed'
             AND (e.event -> 'data' ->> 'renewals')::int = l.renewals
             AND (e.event -> 'data' ->> 'expires_at')::timestamptz = date_trunc('milliseconds', l.expires_at)))
     OR (l.ended_at IS NOT NULL AND NOT EXISTS (
           SELECT FROM audit.event_log e WHERE e.lease_id = l.lease_id AND e.type = 'credential.' || l.state))`;

/** Waits until every lease has ended, nothing is to be cleaned up and the log has it all; or the time is over. */
export async function settle(register: Register, deadlineMs: number): Promise<Check> {
  const end = Date.now() + deadlineMs;
  const open = `SELECT lease_id, state FROM revocation.leases WHERE due_at IS NOT NULL`;
  let left: { lease_id: string; state: string }[] = [];
  for (;;) {
    try {
      left = [
        ...(await register.query<(typeof left)[number]>(open)),
        ...(await register.query<(typeof left)[number]>(missingEvents)),
      ];
      if (left.length === 0) break;
    } catch (error) {
      left = [{ lease_id: String(error), state: '' }];
    }
    if (Date.now() > end) break;
    await sleep(500);
  }
  const name = 'every lease has ended and is told in the log';
  return { name, problems: left.map(({ lease_id, state }) => `${lease_id} (${state})`) };
}

/** Every credential that left has one row of life: intended, issued, ended. */
export async function checkAccountedFor(
  register: Register,
  ledger: Ledger,
): Promise<Check & { lost: string[] }> {
  const rows = await register.query<{ lease_id: string; rows: number; told: boolean; intended: boolean }>(
    `SELECT lease_id, count(*)::int AS rows, bool_and(issued_at IS NOT NULL AND ended_at IS NOT NULL) AS told,
            bool_and(EXISTS (SELECT FROM audit.event_log e
                             WHERE e.lease_id = l.lease_id AND e.type = 'credential.intended')) AS intended
     FROM audit.credential_lifecycle l GROUP BY lease_id`,
  );
  const known = new Map(rows.map((row) => [row.lease_id, row]));
  const problems: string[] = [];
  const lost: string[] = [];
  for (const { leaseId } of ledger.all()) {
    const row = known.get(leaseId);
    if (row?.rows === 1 && row.told && row.intended) continue;
    lost.push(leaseId);
    problems.push(
      row === undefined
        ? `${leaseId} left and is nowhere in the log`
        : `${leaseId}: ${String(row.rows)} rows${row.told ? '' : ', not told to its end'}${row.intended ? '' : ', without intent'}`,
    );
  }
  return {
    name: 'every credential that left has one row of life',
    problems,
    lost,
    note: `${String(ledger.all().length)} credentials`,
  };
}

export async function checkNothingTwice(register: Register): Promise<Check> {
  const twice = await register.query<{ what: string }>(
    `SELECT 'event ' || id AS what FROM audit.event_log GROUP BY id HAVING count(*) > 1
     UNION ALL
     SELECT lease_id || ' has ' || count(*) || ' ' || type FROM audit.event_log
     WHERE type IN ('credential.intended', 'credential.issued', 'credential.failed', 'credential.orphaned',
                    'credential.expired', 'credential.revoked')
     GROUP BY lease_id, type HAVING count(*) > 1
     UNION ALL
     SELECT lease_id || ' was renewed ' || count(*) || ' times as number ' || (event -> 'data' ->> 'renewals') FROM audit.event_log
     WHERE type = 'credential.renewed' GROUP BY lease_id, event -> 'data' ->> 'renewals' HAVING count(*) > 1
     UNION ALL
     SELECT lease_id || ' ended ' || count(*) || ' times' FROM audit.event_log
     WHERE type IN ('credential.failed', 'credential.orphaned', 'credential.expired', 'credential.revoked')
     GROUP BY lease_id HAVING count(*) > 1`,
  );
  const [total] = await register.query<{ count: string }>('SELECT count(*) FROM audit.event_log');
  return {
    name: 'nothing is in the log twice',
    problems: twice.map(({ what }) => what),
    note: `${total?.count ?? '0'} events`,
  };
}

/** By the command that auditors use, which knows nothing of the services. */
export function checkChain(stack: DevelopmentStack): Check {
  const { stdout, stderr, status } = spawnSync(
    process.execPath,
    [
      join(repositoryRoot(), 'apps', 'cli', 'dist', 'main.js'),
      ...['audit', 'verify', '--database-url', stack.postgres.auditorUrl],
      ...['--checkpoints', stack.checkpointFile],
      ...['--keys', join(stack.keysFolder, 'public', 'checkpoint.jwks.json')],
    ],
    { encoding: 'utf8' },
  );
  return { name: 'mayfly audit verify', problems: status === 0 ? [] : [`${stdout}${stderr}`.trim()] };
}

/** Messages that somebody could not process would be a loss that nobody notices. */
export function checkNoDeadLetters(count: number): Check {
  return {
    name: 'no message was given up on',
    problems: count === 0 ? [] : [`${String(count)} dead letters`],
  };
}

/** I1: none of what left is in anything that Mayfly, NATS or Postgres have written. */
export async function checkSecretsSwept(
  stack: DevelopmentStack,
  register: Register,
  ledger: Ledger,
): Promise<Check> {
  await register.query('CHECKPOINT');
  const secrets = ledger.all().map(({ leaseId, kind, secret }) => ({
    name: `${kind} ${leaseId}`,
    value: kind === 'postgres' ? new URL(secret).password : (secret.split('.')[2] ?? secret),
  }));
  const places = ['nats', 'postgres', 'logs', 'checkpoints'].flatMap((folder) =>
    filesBelow(join(stack.dataDirectory, folder), folder).filter(({ name }) => !name.endsWith('.password')),
  );
  const bytes = places.reduce((sum, { content }) => sum + content.length, 0);
  return {
    name: 'no secret is in what was written (I1)',
    problems: sweep(secrets, places).map(
      ({ secret, place, encoding }) => `${secret} in ${place}, ${encoding}`,
    ),
    note: `${String(secrets.length)} secrets, ${String(Math.round(bytes / 1e6))} MB`,
  };
}
