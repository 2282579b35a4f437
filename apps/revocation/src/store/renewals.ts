/** Renewal in place: begun, and then committed or given up. The rules are in `migrations/0008_renewals.sql`. */
import type { MayflyEvent } from '@mayfly/contracts';
import { asDependencyError } from '@mayfly/postgres';
import type { Pool, QueryResultRow } from 'pg';
import { leaseColumns, toLease, type Lease } from './lease.ts';

export interface RenewalRequest {
  readonly renewalId: string;
  /** When policy granted it, by Postgres' clock. */
  readonly grantedAt: string;
  readonly organization: string;
  readonly leaseId: string;
  readonly sessionId: string;
  /** The latest end that policy allows. */
  readonly notAfter: string;
  readonly maxLifeSeconds: number;
  readonly maxCount: number;
  /** How long other renewals of the lease have to wait for this one. */
  readonly claimMs: number;
  /** How much later than the lease its native expiry may be. */
  readonly nativeMarginMs: number;
}

export interface BegunRenewal {
  readonly outcome: 'begun';
  /** As it was before. */
  readonly lease: Lease;
  readonly renewedUntil: Date;
  /** The latest native expiry that the register now knows of. */
  readonly nativeNotAfter: Date;
  /** From now to the new end, rounded up. */
  readonly ttlSeconds: number;
}

export type RenewalStart =
  | BegunRenewal
  | {
      readonly outcome:
        | 'not_found'
        | 'ended'
        | 'not_renewable'
        | 'too_often'
        /** This grant, or a later one, has been used. */
        | 'used'
        | 'busy'
        | 'not_later';
    };

async function firstRow(pool: Pool, name: string, text: string, values: unknown[]): Promise<QueryResultRow> {
  const { rows } = await pool.query<QueryResultRow>({ name, text, values }).catch((error: unknown) => {
    throw asDependencyError(error);
  });
  const row = rows[0];
  if (row === undefined) throw new Error(`${name} answered without a row`);
  return row;
}

/** Notes how late the upstream may come to end the lease by itself, and claims the lease for this renewal. */
export async function beginRenewal(pool: Pool, request: RenewalRequest): Promise<RenewalStart> {
  const row = await firstRow(
    pool,
    'begin_renewal',
    `SELECT b.outcome, b.renewed_until, b.native_not_after, b.ttl_seconds AS renewed_seconds, ${leaseColumns('(b.lease)')}
     FROM revocation.begin_renewal($1, $2, $3, $4, $5, $6, make_interval(secs => $7), $8,
       $9::double precision * interval '1 millisecond', $10::double precision * interval '1 millisecond') AS b`,
    [
      request.organization,
      request.leaseId,
      request.sessionId,
      request.renewalId,
      request.grantedAt,
      request.notAfter,
      request.maxLifeSeconds,
      request.maxCount,
      request.claimMs,
      request.nativeMarginMs,
    ],
  );
  const outcome = row['outcome'] as RenewalStart['outcome'];
  if (outcome !== 'begun') return { outcome };
  return {
    outcome,
    lease: toLease(row),
    renewedUntil: row['renewed_until'] as Date,
    nativeNotAfter: row['native_not_after'] as Date,
    ttlSeconds: row['renewed_seconds'] as number,
  };
}

export type RenewalEnd =
  | { readonly outcome: 'renewed'; readonly expiresAt: Date; readonly renewals: number }
  | { readonly outcome: 'ended' | 'lost' };

/** Moves the end of the lease, with its event. Resolves after the commit; when it rejects, the outcome is unknown. */
export async function commitRenewal(
  pool: Pool,
  { lease, renewedUntil }: Pick<BegunRenewal, 'lease' | 'renewedUntil'>,
  renewalId: string,
  nativeExpiresAt: string | undefined,
  event: MayflyEvent,
): Promise<RenewalEnd> {
  const row = await firstRow(
    pool,
    'commit_renewal',
    'SELECT * FROM revocation.commit_renewal($1, $2, $3, $4, $5::jsonb)',
    [lease.leaseId, renewalId, renewedUntil, nativeExpiresAt, JSON.stringify(event)],
  );
  const outcome = row['outcome'] as RenewalEnd['outcome'];
  if (outcome !== 'renewed') return { outcome };
  return {
    outcome,
    expiresAt: row['lease_expires_at'] as Date,
    renewals: row['lease_renewals'] as number,
  };
}

/** Gives a renewal up that did not come about, so that the next need not wait. */
export async function giveUpRenewal(pool: Pool, leaseId: string, renewalId: string): Promise<void> {
  await pool.query({
    name: 'give_up_renewal',
    text: 'UPDATE revocation.leases SET renewing_until = NULL WHERE lease_id = $1 AND renewal_id = $2',
    values: [leaseId, renewalId],
  });
}
