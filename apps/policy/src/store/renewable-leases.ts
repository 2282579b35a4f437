/** What a renewal starts from. */
import type { JsonObject } from '@mayfly/contracts';
import { cleanUpLimitValues, type CleanUpLimit } from './failing-clean-ups.ts';
import type { GrantedTerms } from './reservations.ts';
import { rowsOf, type Database } from './statement.ts';

export interface RenewableLease extends GrantedTerms {
  readonly leaseId: string;
  /** `<integration>/<name>` */
  readonly credential: string;
  /** When it was granted. */
  readonly startedAt: Date;
  readonly renewals: number;
}

export type FoundLease =
  | {
      readonly outcome: 'found';
      /** The block of who asks, of who holds the lease, or of what is asked for; undefined without one. UUID. */
      readonly blockId: string | undefined;
      readonly lease: RenewableLease;
      /** By Postgres' clock, at one instant with the rest. */
      readonly now: Date;
      /** The session that the lease was granted in, and its end. */
      readonly sessionId: string;
      readonly sessionExpiresAt: Date;
    }
  | {
      readonly outcome:
        | 'session_ended'
        | 'not_found'
        | 'lease_ended'
        | 'not_renewable'
        /** A newer version of the configuration is stored: decide again by that. */
        | 'outdated_configuration';
    };

/**
 * The lease, if the session lives and its agent holds it, by this session or another (I5): as for giving it back. The session
 * that it was granted in bounds it. One round trip.
 */
export async function findRenewableLease(
  database: Database,
  asked: {
    readonly leaseId: string;
    readonly sessionId: string;
    readonly organization: string;
    /** The version of the configuration that the decision will be made by. */
    readonly configVersion: number;
  },
): Promise<FoundLease> {
  const { leaseId, sessionId, organization, configVersion } = asked;
  const [row] = await rowsOf<Row>(database, {
    name: 'find-renewable-lease',
    // A second of life at least, as for a mint. now() is from before anything was looked at, so that what slips by a block or
    // a removal that commits at this moment was decided before the fence that follows, and is stopped there.
    text: `SELECT now() AS now, r.credential, r.ended_at, r.session_id, o.expires_at AS session_expires_at,
                  o.ended_at AS session_ended_at,
                  coalesce(policy.block_for(s.organization, s.id, s.agent_id, s.user_name, r.credential, now()),
                           policy.block_for(s.organization, o.id, o.agent_id, o.user_name, r.credential, now())) AS block_id,
                  EXISTS (SELECT FROM policy.config_versions v WHERE v.version > $4) AS is_outdated,
                  l.started_at, l.renewals, l.ttl_seconds, l.scope, l.claimed_task, l.justification
           FROM policy.sessions s
           LEFT JOIN (policy.reservations r JOIN policy.sessions o ON o.id = r.session_id)
             ON r.lease_id = $1 AND r.organization = s.organization AND o.agent_id = s.agent_id
           LEFT JOIN policy.renewable_leases l ON l.lease_id = r.lease_id
           WHERE s.id = $2 AND s.organization = $3 AND s.kind = 'agent' AND s.ended_at IS NULL
             AND s.expires_at >= now() + interval '1 second'`,
    values: [leaseId, sessionId, organization, configVersion],
  });
  if (row === undefined) return { outcome: 'session_ended' };
  if (row.credential === null) return { outcome: 'not_found' };
  if (row.ended_at !== null || row.session_ended_at !== null) return { outcome: 'lease_ended' };
  if (row.started_at === null) return { outcome: 'not_renewable' };
  if (row.is_outdated) return { outcome: 'outdated_configuration' };
  return {
    outcome: 'found',
    blockId: row.block_id ?? undefined,
    now: row.now,
    sessionId: row.session_id,
    sessionExpiresAt: row.session_expires_at,
    lease: {
      leaseId,
      credential: row.credential,
      startedAt: row.started_at,
      renewals: row.renewals,
      ttlSeconds: row.ttl_seconds,
      scope: row.scope,
      ...(row.claimed_task === null ? {} : { claimedTask: row.claimed_task }),
      ...(row.justification === null ? {} : { justification: row.justification }),
    },
  };
}

export type SuccessorOutcome =
  | {
      readonly outcome:
        | 'reserved'
        | 'lease_ended'
        | 'limit_cleanups'
        /** A newer version of the configuration is stored: decide again by that. */
        | 'outdated_configuration'
        /** It has had a successor, or one that was granted before may still be minted. */
        | 'rotated'
        /** No event has told in time that the lease was issued, so its place within the limits may be another's by now. */
        | 'place_lost';
    }
  /** The lease's own predecessor may still live; until when, if an event has told. */
  | { readonly outcome: 'predecessor_lives'; readonly endsAt?: Date };

/** Reserves the lease that takes the place of another. */
export async function reserveSuccessor(
  database: Database,
  successor: {
    readonly leaseId: string;
    readonly predecessorId: string;
    readonly organization: string;
    readonly sessionId: string;
    readonly decidedAt: Date;
    readonly grantSeconds: number;
    readonly holdSeconds: number;
    readonly cleanUpLimit?: CleanUpLimit;
    /** The version of the configuration that the renewal was decided by. */
    readonly configVersion: number;
  },
): Promise<SuccessorOutcome> {
  const [row] = await rowsOf<{
    outcome: SuccessorOutcome['outcome'];
    predecessor_ends_at: Date | null;
  }>(database, {
    name: 'reserve-successor',
    text: 'SELECT outcome, predecessor_ends_at FROM policy.reserve_successor($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)',
    values: [
      successor.leaseId,
      successor.predecessorId,
      successor.organization,
      successor.sessionId,
      successor.decidedAt,
      successor.grantSeconds,
      successor.holdSeconds,
      ...cleanUpLimitValues(successor.cleanUpLimit),
      successor.configVersion,
    ],
  });
  if (row === undefined) throw new Error('policy.reserve_successor gave no row');
  const { outcome, predecessor_ends_at: endsAt } = row;
  if (outcome !== 'predecessor_lives') return { outcome };
  return { outcome, ...(endsAt === null ? {} : { endsAt }) };
}

/** Of left joins: without a reservation all is null but `now`, without a renewable lease all from `started_at` on. */
interface Row {
  now: Date;
  session_id: string;
  session_expires_at: Date;
  session_ended_at: Date | null;
  credential: string | null;
  ended_at: Date | null;
  block_id: string | null;
  is_outdated: boolean;
  started_at: Date | null;
  renewals: number;
  ttl_seconds: number;
  scope: JsonObject;
  claimed_task: string | null;
  justification: string | null;
}
