/** Activation and abandonment: one call of a store function each, so one round trip and one transaction. */
import type { Fingerprint, MayflyEvent, Revocability, UseKeys } from '@mayfly/contracts';
import { asDependencyError } from '@mayfly/postgres';
import pg, { type Pool } from 'pg';
import { factColumns, type LeaseFacts } from './lease.ts';

/** What a mint adds to the facts of its grant. */
export interface ActivatedFacts extends LeaseFacts {
  /** `granted_at` of the grant: Postgres' clock as policy read it, cut to milliseconds. */
  readonly grantedAt: Date;
  /** `session_expires_at` of the grant, by the same clock: the lease ends then at the latest. */
  readonly sessionExpiresAt: Date;
  readonly nativeExpiresAt?: string;
  readonly revocability: Revocability;
  readonly renewable: boolean;
  readonly handle: string;
  readonly fingerprints: readonly Fingerprint[];
  readonly useKeys: UseKeys;
  /** The redemption of the grant. */
  readonly mintId: string;
}

export type Activation =
  | { readonly outcome: 'active'; readonly issuedAt: Date; readonly expiresAt: Date }
  /** `maybe_fenced`: granted in the very second in which the fence was set, so possibly after it. */
  | { readonly outcome: 'fenced' | 'maybe_fenced' | 'ended' };

/** What a lease does to the one whose place it takes. */
export interface Succession {
  readonly predecessorId: string;
  /** Renewals altogether, this one included. */
  readonly renewals: number;
  /** How long the predecessor goes on. */
  readonly graceSeconds: number;
  /** `credential.renewed` of the predecessor; the function adds its new end. */
  readonly event: MayflyEvent;
}

/** Raised where there is nothing to take the place of, which undoes the activation. */
const noPredecessor = 'MF001';

/**
 * Makes the lease active, unless a fence matches, its session is over or its id is in any state but absent or `intended`.
 * Resolves after the commit; when it rejects, the outcome is unknown. `event` is `credential.issued`; the function adds its two instants.
 */
export async function activateLease(
  pool: Pool,
  facts: ActivatedFacts,
  event: MayflyEvent,
  toleranceMs: number,
  succession?: Succession,
): Promise<Activation> {
  const {
    grantedAt,
    sessionExpiresAt,
    nativeExpiresAt,
    revocability,
    renewable,
    handle,
    fingerprints,
    useKeys,
    mintId,
    ...rest
  } = facts;
  const columns = {
    ...factColumns(rest),
    granted_at: grantedAt,
    session_expires_at: sessionExpiresAt,
    native_expires_at: nativeExpiresAt,
    revocability,
    renewable,
    handle,
    fingerprints,
    use_keys: useKeys,
    mint_id: mintId,
  };
  const values = [JSON.stringify(columns), JSON.stringify(event), toleranceMs];
  const statement =
    succession === undefined
      ? {
          name: 'activate_lease',
          text: `SELECT * FROM revocation.activate($1::jsonb, $2::jsonb, $3::double precision * interval '1 millisecond')`,
          values,
        }
      : {
          name: 'activate_successor',
          text: `SELECT * FROM revocation.activate_successor($1::jsonb, $2::jsonb,
                   $3::double precision * interval '1 millisecond', $4, $5, make_interval(secs => $6), $7::jsonb)`,
          values: [
            ...values,
            succession.predecessorId,
            succession.renewals,
            succession.graceSeconds,
            JSON.stringify(succession.event),
          ],
        };
  const result = await pool
    .query<{ outcome: Activation['outcome']; lease_issued_at: Date; lease_expires_at: Date }>(statement)
    .catch((error: unknown) => {
      if (error instanceof pg.DatabaseError && error.code === noPredecessor) return undefined;
      throw asDependencyError(error);
    });
  if (result === undefined) return { outcome: 'ended' };
  const { rows } = result;
  const row = rows[0];
  if (row === undefined) throw new Error('activate answered without a row');
  if (row.outcome !== 'active') return { outcome: row.outcome };
  return { outcome: 'active', issuedAt: row.lease_issued_at, expiresAt: row.lease_expires_at };
}

export interface Abandonment {
  readonly facts: LeaseFacts;
  /** `credential.failed`, for when it does fail. */
  readonly event: MayflyEvent;
  readonly reason: string;
  readonly nothingLeft: boolean;
  readonly handle: string | undefined;
  readonly causeTraceparent: string | undefined;
  /** The redemption that released nothing. */
  readonly mintId: string;
}

/** `revoking`: it had become active after all. `another_mint`: another redemption of the grant did, and keeps it. */
export type AbandonOutcome = 'failed' | 'revoking' | 'another_mint' | 'unchanged';

/** Ends a mint that released nothing. */
export async function abandonLease(
  pool: Pool,
  { facts, event, reason, nothingLeft, handle, causeTraceparent, mintId }: Abandonment,
): Promise<AbandonOutcome> {
  const { rows } = await pool
    .query<{ outcome: AbandonOutcome }>({
      name: 'abandon_lease',
      text: 'SELECT outcome FROM revocation.abandon($1::jsonb, $2::jsonb, $3, $4, $5)',
      values: [
        JSON.stringify({ ...factColumns(facts), handle, mint_id: mintId }),
        JSON.stringify(event),
        reason,
        nothingLeft,
        causeTraceparent,
      ],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
  const row = rows[0];
  if (row === undefined) throw new Error('abandon answered without a row');
  return row.outcome;
}

/** Fences the lease that a grant would have become, unless it is known. */
export async function cancelGrant(
  pool: Pool,
  organization: string,
  leaseId: string,
): Promise<'cancelled' | 'begun'> {
  const { rows } = await pool
    .query<{ outcome: 'cancelled' | 'begun' }>({
      name: 'cancel_grant',
      text: 'SELECT outcome FROM revocation.cancel_grant($1, $2)',
      values: [organization, leaseId],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
  const row = rows[0];
  if (row === undefined) throw new Error('cancel_grant answered without a row');
  return row.outcome;
}
