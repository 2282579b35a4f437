/** Ends that somebody asked for. */
import { asDependencyError } from '@mayfly/postgres';
import type { Pool } from 'pg';
import { leaseColumns, toLease, type Lease } from './lease.ts';
import { longestClaim } from './replicas.ts';

export interface EndRequest {
  readonly organization: string;
  readonly leaseId: string;
  /** Whose lease it must be; undefined for an administrator. */
  readonly onlyAgent: string | undefined;
  readonly reason: string;
  readonly causeTraceparent: string | undefined;
  /** Who claims the lease, to try at once. */
  readonly replicaId: string;
  /** Whether to fence a lease that is not known here. */
  readonly fenceUnknown: boolean;
}

export type EndStart =
  | { readonly outcome: 'claimed'; readonly lease: Lease }
  | { readonly outcome: 'ending' | 'already_ended' | 'not_found' };

/** Starts the end of one lease, durably, and claims it for the caller. */
export async function startEnd(pool: Pool, request: EndRequest): Promise<EndStart> {
  const { rows } = await pool
    .query<{ outcome: EndStart['outcome'] }>({
      name: 'start_end',
      text: `
        SELECT e.outcome, ${leaseColumns('(e.lease)')}
        FROM revocation.end_lease($1, $2, $3, $4, $5, $6, ${longestClaim}, $7) AS e`,
      values: [
        request.organization,
        request.leaseId,
        request.onlyAgent,
        request.reason,
        request.causeTraceparent,
        request.replicaId,
        request.fenceUnknown,
      ],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
  const row = rows[0];
  if (row === undefined) throw new Error('end_lease answered without a row');
  return row.outcome === 'claimed' ? { outcome: 'claimed', lease: toLease(row) } : { outcome: row.outcome };
}
