/** Reading the register. */
import { asDependencyError } from '@mayfly/postgres';
import type { Pool, QueryResultRow } from 'pg';
import { leaseColumns, toLease, type Lease } from './lease.ts';

const columns = leaseColumns('l');

async function query(pool: Pool, name: string, text: string, values: unknown[]): Promise<QueryResultRow[]> {
  try {
    return (await pool.query<QueryResultRow>({ name, text, values })).rows;
  } catch (error) {
    throw asDependencyError(error);
  }
}

/** The lease, if it belongs to the organization and, when one is given, to the agent. */
export async function findLease(
  pool: Pool,
  organization: string,
  leaseId: string,
  onlyAgent: string | undefined,
): Promise<Lease | undefined> {
  const rows = await query(
    pool,
    'find_lease',
    `SELECT ${columns} FROM revocation.leases l
     WHERE l.lease_id = $2 AND l.organization = $1 AND l.agent_id = coalesce($3, l.agent_id)`,
    [organization, leaseId, onlyAgent],
  );
  return rows[0] === undefined ? undefined : toLease(rows[0]);
}

/** Whether the lease works now: active and, by Postgres' clock, not past its expiry. */
export async function isLive(
  pool: Pool,
  organization: string,
  leaseId: string,
  onlyAgent?: string,
): Promise<boolean> {
  const rows = await query(
    pool,
    'is_live',
    `SELECT FROM revocation.leases l
     WHERE l.lease_id = $2 AND l.organization = $1 AND l.agent_id = coalesce($3, l.agent_id)
       AND l.state = 'active' AND l.expires_at > now()`,
    [organization, leaseId, onlyAgent],
  );
  return rows.length === 1;
}

/** Those of the leases that have ended or are not known; one whose end is still tried has not ended. */
export async function findEnded(pool: Pool, leaseIds: readonly string[]): Promise<string[]> {
  const rows = await query(
    pool,
    'find_ended',
    `SELECT asked.lease_id FROM unnest($1::uuid[]) AS asked (lease_id)
     WHERE NOT EXISTS (SELECT FROM revocation.leases l WHERE l.lease_id = asked.lease_id AND l.ended_at IS NULL)`,
    [leaseIds],
  );
  return rows.map((row) => row['lease_id'] as string);
}

/** Those of the leases that have ended and have left something upstream that is still to be removed. */
export async function findPendingCleanUps(pool: Pool, leaseIds: readonly string[]): Promise<string[]> {
  const rows = await query(
    pool,
    'find_pending_clean_ups',
    `SELECT l.lease_id FROM revocation.leases l
     WHERE l.lease_id = ANY ($1::uuid[]) AND l.cleanup = 'pending' AND l.access_ended_at IS NOT NULL`,
    [leaseIds],
  );
  return rows.map((row) => row['lease_id'] as string);
}

export interface ListQuery {
  readonly organization: string;
  readonly onlyAgent: string | undefined;
  /** `failing`: whose end or clean-up has failed and is tried again, or is overdue and was not tried at all. */
  readonly which: 'live' | 'all' | 'failing';
  /** Ids below this one; the last of the page before. */
  readonly before: string | undefined;
  readonly limit: number;
}

/** Seconds for which something may be due before it counts as overdue. */
const overdueAfterSeconds = 10;

/**
 * What has failed, and what is overdue without ever having failed: nobody could take it up, or its first attempt hangs. Each by
 * its own index, in an array of its own, so that the planner never reads the whole table for them.
 */
const failing = (byAgent: string) => `l.lease_id = ANY (ARRAY(
  SELECT f.lease_id FROM revocation.leases f
  WHERE f.last_error IS NOT NULL AND f.due_at IS NOT NULL AND f.organization = $1 AND f.lease_id < $2::uuid ${byAgent}
  UNION
  SELECT f.lease_id FROM revocation.leases f
  WHERE f.due_at < now() - make_interval(secs => ${String(overdueAfterSeconds)}) AND f.organization = $1 AND f.lease_id < $2::uuid ${byAgent}
  ORDER BY lease_id DESC LIMIT $3))`;

/** Newest first. One statement per case, so that each is planned for the index that serves it. */
export async function listLeases(
  pool: Pool,
  { organization, onlyAgent, which, before, limit }: ListQuery,
): Promise<Lease[]> {
  const conditions = ['l.organization = $1', 'l.lease_id < $2::uuid'];
  if (onlyAgent !== undefined) conditions.push('l.agent_id = $4');
  // What is only intended has released nothing.
  if (which === 'live') conditions.push('l.granted_at IS NOT NULL AND l.ended_at IS NULL');
  if (which === 'failing') conditions.push(failing(onlyAgent === undefined ? '' : 'AND f.agent_id = $4'));
  const rows = await query(
    pool,
    `list_leases_${onlyAgent === undefined ? 'organization' : 'agent'}_${which}`,
    `SELECT ${columns} FROM revocation.leases l WHERE ${conditions.join(' AND ')} ORDER BY l.lease_id DESC LIMIT $3`,
    [
      organization,
      before ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff',
      limit,
      ...(onlyAgent === undefined ? [] : [onlyAgent]),
    ],
  );
  return rows.map(toLease);
}

/** For metrics. */
export interface RegisterSize {
  /** Leases that have not ended. */
  readonly byState: ReadonlyMap<string, number>;
  /** Lateness of the most overdue lease; `revocation_failed` is counted by its state instead. */
  readonly dueLagSeconds: number;
  /** Leases whose end or clean-up has failed and is tried again. */
  readonly failing: { readonly end: number; readonly cleanup: number };
  /** Leases whose access has ended and that have left something upstream, whether removing it has failed so far or not. */
  readonly pendingCleanUps: number;
  /** Revocations that are not done, and how long ago the oldest was asked for. */
  readonly openRevocations: { readonly count: number; readonly oldestSeconds: number };
}

/** A claim or a retry puts `due_at` off, so that alone would hide what is tried in vain: expiries are looked at as well. */
export async function registerSize(pool: Pool): Promise<RegisterSize> {
  const rows = await query(
    pool,
    'register_size',
    `SELECT state, count(*)::integer AS leases, NULL::double precision AS lag
       FROM revocation.leases WHERE due_at IS NOT NULL AND ended_at IS NULL GROUP BY state
     UNION ALL
     SELECT CASE WHEN ended_at IS NULL THEN 'failing end' ELSE 'failing cleanup' END, count(*)::integer, NULL
       FROM revocation.leases WHERE last_error IS NOT NULL AND due_at IS NOT NULL GROUP BY 1
     UNION ALL
     SELECT 'pending cleanup', count(*)::integer, NULL
       FROM revocation.leases WHERE due_at IS NOT NULL AND access_ended_at IS NOT NULL
     UNION ALL
     SELECT NULL, 0, extract(epoch FROM now() - least(min(due_at) FILTER (WHERE access_ended_at IS NULL), min(expires_at) FILTER (WHERE state IN ('active', 'revoking'))))::double precision
       FROM revocation.leases WHERE due_at IS NOT NULL
     UNION ALL
     SELECT 'open revocations', count(*)::integer, extract(epoch FROM now() - min(asked_at))::double precision
       FROM revocation.revocations WHERE due_at IS NOT NULL`,
    [],
  );
  const byState = new Map<string, number>();
  let dueLagSeconds = 0;
  let openRevocations = { count: 0, oldestSeconds: 0 };
  for (const row of rows) {
    const seconds = Math.max(0, Number(row['lag'] ?? 0));
    if (row['state'] === null) dueLagSeconds = seconds;
    else if (row['state'] === 'open revocations')
      openRevocations = { count: row['leases'] as number, oldestSeconds: seconds };
    else byState.set(row['state'] as string, row['leases'] as number);
  }
  const failing = { end: byState.get('failing end') ?? 0, cleanup: byState.get('failing cleanup') ?? 0 };
  const pendingCleanUps = byState.get('pending cleanup') ?? 0;
  return { byState, dueLagSeconds, failing, pendingCleanUps, openRevocations };
}
