/** Renewal in place: begun, and then committed or given up. The rules are in `migrations/0008_renewals.sql`. */
import type { MayflyEvent, RenewalClaims } from '@mayfly/contracts';
import { asDependencyError } from '@mayfly/postgres';
import type { Pool, QueryResultRow } from 'pg';
import { leaseColumns, toLease, type Lease } from './lease.ts';

/** Whose fences stop a renewal, beside those of the lease. */
export type Asker = RenewalClaims['asker'];

export interface RenewalRequest {
  readonly renewalId: string;
  /** When policy granted it, by Postgres' clock. */
  readonly grantedAt: string;
  readonly organization: string;
  readonly leaseId: string;
  readonly sessionId: string;
  readonly asker: Asker;
  /** The latest end that policy allows. */
  readonly notAfter: string;
  readonly maxLifeSeconds: number;
  readonly maxCount: number;
  /** How far policy's reading of Postgres' clock may be ahead. */
  readonly fenceToleranceMs: number;
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
     FROM revocation.begin_renewal($1, $2, $3, $4::jsonb, $5, $6, $7::double precision * interval '1 millisecond', $8,
       make_interval(secs => $9), $10, $11::double precision * interval '1 millisecond',
       $12::double precision * interval '1 millisecond') AS b`,
    [
      request.organization,
      request.leaseId,
      request.sessionId,
      JSON.stringify(request.asker),
      request.renewalId,
      request.grantedAt,
      request.fenceToleranceMs,
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

export interface RenewalCommit {
  readonly leaseId: string;
  readonly renewalId: string;
  readonly asker: Asker;
  readonly fenceToleranceMs: number;
  /** As it was begun. */
  readonly renewedUntil: Date;
  readonly nativeExpiresAt: string | undefined;
  /** `credential.renewed`; the function adds the new end and the count. */
  readonly event: MayflyEvent;
}

/** Moves the end of the lease, with its event. Resolves after the commit; when it rejects, the outcome is unknown. */
export async function commitRenewal(pool: Pool, commit: RenewalCommit): Promise<RenewalEnd> {
  const row = await firstRow(
    pool,
    'commit_renewal',
    `SELECT * FROM revocation.commit_renewal($1, $2::jsonb, $3, $4::double precision * interval '1 millisecond', $5, $6, $7::jsonb)`,
    [
      commit.leaseId,
      JSON.stringify(commit.asker),
      commit.renewalId,
      commit.fenceToleranceMs,
      commit.renewedUntil,
      commit.nativeExpiresAt,
      JSON.stringify(commit.event),
    ],
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
