/** What counts against limits. The rules are in `migrations/0006_reservations.sql`. */
import type { JsonObject } from '@mayfly/contracts';
import { cleanUpLimitValues, type CleanUpLimit } from './failing-clean-ups.ts';
import { rowsOf, type Database } from './statement.ts';

export interface LeaseReservation {
  readonly leaseId: string;
  readonly sessionId: string;
  readonly organization: string;
  readonly credential: string;
  /** The version of the configuration that the decision was made by. */
  readonly configVersion: number;
  readonly limits: { readonly perSession?: number; readonly concurrent?: number };
  readonly cleanUpLimit?: CleanUpLimit;
  /** How long the grant may be redeemed. */
  readonly grantSeconds: number;
  /** How much longer the reservation counts when no event tells what became of it. */
  readonly holdSeconds: number;
  readonly idempotency?: { readonly key: string; readonly bodySha256: string };
  /** For a lease that may be renewed. */
  readonly renewable?: GrantedTerms;
}

/** What a lease was granted with. */
export interface GrantedTerms {
  readonly ttlSeconds: number;
  readonly scope: JsonObject;
  readonly claimedTask?: string;
  readonly justification?: string;
}

export type ReservationOutcome =
  | {
      readonly outcome: 'reserved';
      readonly decidedAt: Date;
      readonly sessionExpiresAt: Date;
      /** The lease that this one replaces, since the same Idempotency-Key was repeated. */
      readonly supersededLeaseId?: string;
    }
  | {
      readonly outcome:
        | 'session_ended'
        /** A newer version of the configuration is stored: decide again by that. */
        | 'outdated_configuration'
        /** An administrator has blocked who asks, or what is asked for. */
        | 'blocked'
        /** Too much of what earlier leases of the same orchestration left at the integration can't be removed so far. */
        | 'limit_cleanups'
        | 'limit_per_session'
        | 'limit_concurrent'
        /** The first request with the same Idempotency-Key is still under way. */
        | 'still_running'
        /** The Idempotency-Key belongs to another request. */
        | 'other_body';
    };

const reserving = {
  name: 'reserve-lease',
  text: 'SELECT * FROM policy.reserve_lease($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)',
};

const reservingRenewable = {
  name: 'reserve-renewable-lease',
  text: `WITH reserved AS MATERIALIZED (
           SELECT * FROM policy.reserve_lease($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ),
         kept AS (
           INSERT INTO policy.renewable_leases
             (lease_id, started_at, ttl_seconds, scope, claimed_task, justification)
           SELECT $1, reserved.decided_at, $15, $16, $17, $18 FROM reserved WHERE reserved.outcome = 'reserved'
         )
         SELECT * FROM reserved`,
};

/** Checks the session and the limits and reserves, in one round trip and one transaction. */
export async function reserveLease(
  database: Database,
  reservation: LeaseReservation,
): Promise<ReservationOutcome> {
  const { renewable } = reservation;
  const [row] = await rowsOf<ReservationRow>(database, {
    ...(renewable === undefined ? reserving : reservingRenewable),
    values: [
      reservation.leaseId,
      reservation.sessionId,
      reservation.organization,
      reservation.credential,
      reservation.limits.perSession ?? null,
      reservation.limits.concurrent ?? null,
      reservation.grantSeconds,
      reservation.holdSeconds,
      reservation.idempotency?.key ?? null,
      reservation.idempotency?.bodySha256 ?? null,
      reservation.configVersion,
      ...cleanUpLimitValues(reservation.cleanUpLimit),
      ...(renewable === undefined
        ? []
        : [
            renewable.ttlSeconds,
            JSON.stringify(renewable.scope),
            renewable.claimedTask ?? null,
            renewable.justification ?? null,
          ]),
    ],
  });
  if (row === undefined) throw new Error('policy.reserve_lease gave no row');
  if (row.outcome !== 'reserved') return { outcome: row.outcome };
  return {
    outcome: 'reserved',
    decidedAt: row.decided_at,
    sessionExpiresAt: row.session_expires_at,
    ...(row.superseded_lease_id === null ? {} : { supersededLeaseId: row.superseded_lease_id }),
  };
}

/**
 * How many leases of each credential may still work or be under way; credentials without any are left out. Lease and successor
 * take one place within the limits, but both may work, so both count here. Exact under the lock of
 * `storeConfigVersion`: no decision can reserve meanwhile.
 */
export async function countLiveReservations(
  database: Database,
  credentials: readonly { readonly organization: string; readonly credential: string }[],
): Promise<{ organization: string; credential: string; leases: number }[]> {
  return rowsOf(database, {
    name: 'count-live-reservations',
    text: `SELECT r.organization, r.credential, count(*)::integer AS leases
           FROM unnest($1::text[], $2::text[]) AS asked (organization, credential)
           JOIN policy.reservations r ON r.organization = asked.organization AND r.credential = asked.credential
           WHERE r.ended_at IS NULL AND (r.issued_at IS NOT NULL OR r.held_until IS NULL OR r.held_until > now())
           GROUP BY r.organization, r.credential ORDER BY r.organization, r.credential`,
    values: [
      credentials.map(({ organization }) => organization),
      credentials.map(({ credential }) => credential),
    ],
  });
}

/** The credentials of which leases may still work or be under way, counted as above. */
export async function listLiveCredentials(
  database: Database,
): Promise<{ organization: string; credential: string }[]> {
  return rowsOf(database, {
    name: 'list-live-credentials',
    text: `SELECT DISTINCT organization, credential FROM policy.reservations
           WHERE ended_at IS NULL AND (issued_at IS NOT NULL OR held_until IS NULL OR held_until > now())`,
  });
}

/** What the events of a batch tell about one lease. */
export interface LeaseNews {
  readonly leaseId: string;
  readonly issued: boolean;
  readonly ended: boolean;
  /** How often it has been renewed, where an event tells. */
  readonly renewals?: number;
  /** When it ends for its successor, where an event tells. ISO 8601. */
  readonly endsAt?: string;
  /** Until when what an ended lease left works on, where it could not be called back. ISO 8601. */
  readonly worksUntil?: string;
}

/**
 * Notes what became of leases. Safe to repeat and in any order: that a lease was issued and that it has ended are noted apart,
 * an end stays an end whatever is told later, and leases that policy does not know (any longer) are passed over.
 */
export async function recordLeaseNews(database: Database, news: readonly LeaseNews[]): Promise<void> {
  await rowsOf(database, {
    name: 'record-lease-news',
    text: `UPDATE policy.reservations r SET
             issued_at = CASE WHEN told.issued THEN coalesce(r.issued_at, now()) ELSE r.issued_at END,
             held_until = CASE WHEN told.issued THEN NULL ELSE r.held_until END,
             ended_at = CASE WHEN told.ended THEN coalesce(r.ended_at, now()) ELSE r.ended_at END,
             ends_at = coalesce(told.ends_at, r.ends_at),
             works_until = coalesce(told.works_until, r.works_until)
           FROM unnest($1::uuid[], $2::boolean[], $3::boolean[], $4::timestamptz[], $5::timestamptz[])
             AS told (lease_id, issued, ended, ends_at, works_until)
           WHERE r.lease_id = told.lease_id
             AND (told.issued AND r.issued_at IS NULL OR told.ended AND r.ended_at IS NULL
                  OR told.ends_at IS DISTINCT FROM r.ends_at AND told.ends_at IS NOT NULL
                  OR told.works_until IS DISTINCT FROM r.works_until AND told.works_until IS NOT NULL)`,
    values: [
      news.map(({ leaseId }) => leaseId),
      news.map(({ issued }) => issued),
      news.map(({ ended }) => ended),
      news.map(({ endsAt }) => endsAt ?? null),
      news.map(({ worksUntil }) => worksUntil ?? null),
    ],
  });
  const renewed = news.filter(({ renewals }) => renewals !== undefined);
  if (renewed.length === 0) return;
  await rowsOf(database, {
    name: 'record-renewals',
    text: `UPDATE policy.renewable_leases l SET renewals = told.renewals
           FROM unnest($1::uuid[], $2::integer[]) AS told (lease_id, renewals)
           WHERE l.lease_id = told.lease_id AND l.renewals < told.renewals`,
    values: [renewed.map(({ leaseId }) => leaseId), renewed.map(({ renewals }) => renewals)],
  });
}

/**
 * Takes at most `limit` leases that count although their time must be over: the event of their end may have been lost. No lease
 * outlives its session, so its time is over with that; a session that is not known any more lasted an hour at most. A lease
 * that has a successor is over with its grace, and holds up the successor's renewal until its end is heard of. None of them is taken again within `everyMs`, by whatever replica; those that were never taken come first.
 */
export async function takeOverdueReservations(
  database: Database,
  everyMs: number,
  limit: number,
): Promise<string[]> {
  const rows = await rowsOf<{ lease_id: string }>(database, {
    name: 'take-overdue-reservations',
    text: `UPDATE policy.reservations SET asked_about_at = now() WHERE lease_id IN (
             SELECT r.lease_id FROM policy.reservations r LEFT JOIN policy.sessions s ON s.id = r.session_id
             WHERE r.ended_at IS NULL AND r.issued_at IS NOT NULL AND r.held_until IS NULL
               AND least(coalesce(s.ended_at, s.expires_at, r.reserved_at + interval '1 hour'), r.ends_at) < now() - interval '2 minutes'
               AND (r.asked_about_at IS NULL OR r.asked_about_at <= now() - $1::double precision * interval '1 millisecond')
             ORDER BY r.asked_about_at NULLS FIRST LIMIT $2 FOR NO KEY UPDATE OF r SKIP LOCKED
           )
           RETURNING lease_id`,
    values: [everyMs, limit],
  });
  return rows.map((row) => row.lease_id);
}

/**
 * Forgets at most `limit` reservations that ended more than two hours ago: by then the session that could repeat their
 * Idempotency-Key has ended. Those of which no event ever told count as ended an hour after their time.
 */
export async function pruneReservations(database: Database, limit: number): Promise<number> {
  const lapsed = await rowsOf(database, {
    name: 'end-lapsed-reservations',
    text: `UPDATE policy.reservations SET ended_at = now() WHERE lease_id IN (
             SELECT lease_id FROM policy.reservations
             WHERE ended_at IS NULL AND held_until < now() - interval '1 hour'
             ORDER BY held_until LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
           )
           RETURNING lease_id`,
    values: [limit],
  });
  const pruned = await rowsOf(database, {
    name: 'prune-reservations',
    text: `DELETE FROM policy.reservations WHERE lease_id IN (
             SELECT lease_id FROM policy.reservations WHERE ended_at < now() - interval '2 hours'
             ORDER BY ended_at LIMIT $1 FOR UPDATE SKIP LOCKED
           )
           RETURNING lease_id`,
    values: [limit],
  });
  return lapsed.length + pruned.length;
}

interface ReservationRow {
  outcome: ReservationOutcome['outcome'];
  decided_at: Date;
  session_expires_at: Date;
  superseded_lease_id: string | null;
}
