/** The one row that tells a lease's life. */
import type { LeaseLifecycle } from '@mayfly/contracts';
import type { Pool } from 'pg';

const ofLease = `
  SELECT lease_id, organization, agent_id, agent_role, "user", task, credential, provider, scope,
         requested_at, issued_at, expires_at, last_used_at, ended_at, how_ended, uses::int AS uses,
         renewals, last_renewed_at, predecessor_id, successor_id, cleanup, cleanup_failed_at, cleaned_up_at, trace_id
  FROM audit.credential_lifecycle WHERE lease_id = $1 AND organization = $2`;

/** Undefined for an unknown lease and for another organization's alike (I5). */
export async function findLifecycle(
  pool: Pool,
  organization: string,
  leaseId: string,
): Promise<LeaseLifecycle | undefined> {
  const { rows } = await pool.query<Record<string, unknown>>({
    name: 'lifecycle',
    text: ofLease,
    values: [leaseId, organization],
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  const present = Object.entries(row)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => [name, value instanceof Date ? value.toISOString() : value]);
  return Object.fromEntries(present) as LeaseLifecycle;
}
