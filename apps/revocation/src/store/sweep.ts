/** Comparing what is there upstream with the register. */
import type { Pool } from 'pg';
import { leaseColumns, toLease, type Lease } from './lease.ts';

/**
 * Whether the comparison is due and this replica is the one to make it. One that a longer setting has put
 * further off is due now: more than twice as far, because who claims at the same moment may have begun a little earlier.
 */
export async function claimSweep(pool: Pool, everyMs: number): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'claim_sweep',
    text: `UPDATE revocation.sweep SET next_at = now() + $1::double precision * interval '1 millisecond'
           WHERE next_at <= now() OR next_at > now() + 2 * $1::double precision * interval '1 millisecond'`,
    values: [everyMs],
  });
  return rowCount === 1;
}

/** The comparison could not be made: it is due again after so long. */
export async function putOffSweep(pool: Pool, forMs: number): Promise<void> {
  await pool.query({
    name: 'put_off_sweep',
    text: `UPDATE revocation.sweep SET next_at = now() + $1::double precision * interval '1 millisecond'`,
    values: [forMs],
  });
}

/** By Postgres' clock. */
export async function clock(pool: Pool): Promise<Date> {
  const { rows } = await pool.query<{ now: Date }>({
    name: 'clock',
    text: 'SELECT clock_timestamp() AS now',
  });
  return rows[0]?.now ?? new Date(0);
}

/**
 * Those of the lease ids, found upstream, of which nothing should be there any more: unknown ones, and those that ended, or
 * were cleaned up after, more than `graceMs` ago. What somebody is going to end or clean up is not among them.
 */
export async function findStrays(
  pool: Pool,
  leaseIds: readonly string[],
  graceMs: number,
): Promise<{ leaseId: string; lease: Lease | undefined }[]> {
  const { rows } = await pool.query<{ found_id: string; lease_id: string | null }>({
    name: 'find_strays',
    text: `
      SELECT found.id AS found_id, ${leaseColumns('l')}
      FROM unnest($1::uuid[]) AS found (id) LEFT JOIN revocation.leases l ON l.lease_id = found.id
      WHERE l.lease_id IS NULL
         OR (l.due_at IS NULL AND l.ended_at < now() - $2::double precision * interval '1 millisecond')`,
    values: [leaseIds, graceMs],
  });
  return rows.map((row) => ({
    leaseId: row.found_id,
    lease: row.lease_id === null ? undefined : toLease(row),
  }));
}

export interface Expected {
  readonly organization: string;
  readonly integration: string;
  /** What their ids end with. */
  readonly mark: string;
  /** Lease ids above this one, up to `to`. */
  readonly from: string;
  readonly to: string;
  /** Those that were found. */
  readonly found: readonly string[];
  /** Only leases that were active before. */
  readonly before: Date;
}

/** Active leases that should have been found upstream and were not, in the order of their ids; at most `most`. */
export async function findVanished(pool: Pool, expected: Expected, most: number): Promise<Lease[]> {
  const { rows } = await pool.query({
    name: 'find_vanished',
    text: `
      SELECT ${leaseColumns('l')} FROM revocation.leases l
      WHERE l.organization = $1 AND l.integration = $2 AND l.credential >= $2 || '/' AND l.credential < $2 || '0'
        AND l.granted_at IS NOT NULL AND l.ended_at IS NULL AND l.state = 'active' AND l.issued_at < $7
        AND l.lease_id > $4 AND l.lease_id <= $5 AND right(l.lease_id::text, length($3)) = $3
        AND NOT EXISTS (SELECT FROM unnest($6::uuid[]) AS f (id) WHERE f.id = l.lease_id)
      ORDER BY l.lease_id LIMIT $8`,
    values: [
      expected.organization,
      expected.integration,
      expected.mark,
      expected.from,
      expected.to,
      expected.found,
      expected.before,
      most,
    ],
  });
  return rows.map(toLease);
}

/** Starts the end of an active lease that is not there upstream any more. False when it is not active. */
export async function endVanished(pool: Pool, leaseId: string): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'end_vanished',
    text: `
      UPDATE revocation.leases SET
        state = 'revoking', end_cause = 'revoked', end_reason = 'vanished_upstream', due_at = now()
      WHERE lease_id = $1 AND state = 'active'`,
    values: [leaseId],
  });
  return rowCount === 1;
}
