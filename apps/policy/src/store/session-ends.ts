/**
 * Ends of sessions that others than their holders cause: a configuration that no longer admits them, an administrator, a block.
 *
 * Order of locks: openings, then rows of sessions in the order of their ids, then what decisions take (`policy.reserve_lease`: one
 * row of a session, then a credential, then the versions of the configuration). So whoever ends sessions together with storing a
 * version ends them before it takes the lock of the versions, which a decision waits for while it holds the row of its session.
 */
import type { PersonRole } from '@mayfly/contracts';
import type { PoolClient } from 'pg';
import type { Session } from '../sessions/session.ts';
import type { SessionGround } from '../trust/ground.ts';
import { sessionColumns, sessionOf, type SessionRow } from './sessions.ts';
import { rowsOf, type Database } from './statement.ts';

/** Sessions of one ground, and how they are to be judged. */
export interface LiveGround extends SessionGround {
  /** The version to compare with; undefined for the one that ran until now, and where it isn't known. */
  readonly admittedBy: number | undefined;
  /** How many they are. */
  readonly sessions: number;
}

/**
 * Until the end of the transaction no session is opened (each opening takes the same lock shared), so that what is decided here of
 * all sessions is true of those that are opened at this moment too. A process that is paused in an opening holds this up for a few
 * seconds at most: Postgres ends its transaction.
 */
export async function holdOpenings(client: PoolClient): Promise<void> {
  await rowsOf(client, {
    text: `SELECT set_config('idle_in_transaction_session_timeout', '3000', true),
             pg_advisory_xact_lock(hashtextextended('mayfly session openings', 0))`,
  });
}

/**
 * For an act on single sessions: keeps those away that hold openings, and lets sessions be opened. They lock rows of sessions in an
 * order of their own, so that each could wait for the other.
 */
export async function shareOpenings(client: PoolClient): Promise<void> {
  await rowsOf(client, {
    text: `SELECT set_config('idle_in_transaction_session_timeout', '3000', true),
             pg_advisory_xact_lock_shared(hashtextextended('mayfly session openings', 0))`,
  });
}

/** Locks these sessions until the end of the transaction, in the order of their ids, and answers with those that live. */
export async function holdSessions(client: PoolClient, ids: readonly string[]): Promise<ReadonlySet<string>> {
  const rows = await rowsOf<{ id: string; live: boolean }>(client, {
    name: 'hold-sessions',
    // By the clock and not by the start of the transaction: it may have waited for a lock.
    text: `SELECT s.id, s.ended_at IS NULL AND s.expires_at > clock_timestamp() AS live FROM policy.sessions s
           WHERE s.id = ANY ($1::uuid[]) ORDER BY s.id FOR NO KEY UPDATE`,
    values: [ids],
  });
  return new Set(rows.filter(({ live }) => live).map(({ id }) => id));
}

/**
 * Which version sessions are compared with. `kept`: those that a version kept without admitting them with the one that admitted them,
 * all others with the one that ran until now, which has judged them. `all`: each with the one that admitted it.
 */
export type ByAdmission = 'kept' | 'all';

/** The grounds of all live sessions. Few, however many sessions there are. */
export async function liveGrounds(database: Database, byAdmission: ByAdmission): Promise<LiveGround[]> {
  const rows = await rowsOf<{
    organization: string;
    trust_rule: string;
    kind: 'agent' | 'person';
    agent_role: string | null;
    person_roles: PersonRole[];
    has_recipient_key: boolean;
    admitted_by: number | null;
    sessions: number;
  }>(database, {
    // All that were live when a version was stored were judged by it, but for versions that kept what they did not admit.
    text: `SELECT s.organization, s.trust_rule, s.kind, s.agent_role, s.person_roles, s.recipient_key IS NOT NULL AS has_recipient_key,
             ${admittedBy('$1')} AS admitted_by, count(*)::integer AS sessions
           FROM policy.sessions s WHERE s.ended_at IS NULL AND s.expires_at > now() GROUP BY 1, 2, 3, 4, 5, 6, 7`,
    values: [byAdmission === 'all'],
  });
  return rows.map((row) => ({
    organization: row.organization,
    trustRule: row.trust_rule,
    kind: row.kind,
    agentRole: row.agent_role ?? undefined,
    personRoles: row.person_roles,
    hasRecipientKey: row.has_recipient_key,
    admittedBy: row.admitted_by ?? undefined,
    sessions: row.sessions,
  }));
}

/** @param ofAll Parameter of the statement: whether it is asked for of all sessions, and not only of those that a version kept. */
const admittedBy = (
  ofAll: string,
) => `CASE WHEN ${ofAll}::boolean OR s.config_version < (SELECT max(v.version) FROM policy.config_versions v WHERE v.sessions_kept)
  THEN s.config_version END`;

/** Ends all live sessions of these grounds, which were found with the same `byAdmission`. */
export async function withdrawSessions(
  client: PoolClient,
  grounds: readonly LiveGround[],
  byAdmission: ByAdmission,
): Promise<(Session & { readonly ground: LiveGround })[]> {
  if (grounds.length === 0) return [];
  const rows = await rowsOf<SessionRow & { place: number }>(client, {
    text: `WITH held AS MATERIALIZED (
             SELECT s.id, g.place FROM policy.sessions s
             JOIN jsonb_to_recordset($1::jsonb) AS g
               (place integer, organization text, trust_rule text, kind text, agent_role text, person_roles jsonb, has_recipient_key boolean,
                admitted_by integer)
               ON s.organization = g.organization AND s.trust_rule = g.trust_rule AND s.kind = g.kind
                 AND s.agent_role IS NOT DISTINCT FROM g.agent_role AND to_jsonb(s.person_roles) = g.person_roles
                 AND (s.recipient_key IS NOT NULL) = g.has_recipient_key
                 AND ${admittedBy('$2')} IS NOT DISTINCT FROM g.admitted_by
             WHERE s.ended_at IS NULL
             ORDER BY s.id FOR NO KEY UPDATE OF s
           )
           UPDATE policy.sessions s SET ended_at = now(), end_reason = 'withdrawn' FROM held
           WHERE s.id = held.id AND s.ended_at IS NULL
           RETURNING ${sessionColumns('s')}, held.place`,
    values: [
      JSON.stringify(
        grounds.map((ground, place) => ({
          place,
          organization: ground.organization,
          trust_rule: ground.trustRule,
          kind: ground.kind,
          agent_role: ground.agentRole ?? null,
          person_roles: ground.personRoles,
          has_recipient_key: ground.hasRecipientKey,
          admitted_by: ground.admittedBy ?? null,
        })),
      ),
      byAdmission === 'all',
    ],
  });
  return rows.flatMap((row) => {
    const ground = grounds[row.place];
    return ground === undefined ? [] : [{ ...sessionOf(row), ground }];
  });
}

/** Ends a session of an organization at an administrator's wish; as `closeSession`, undefined also for one of another organization. */
export async function dismissSession(
  client: PoolClient,
  organization: string,
  id: string,
): Promise<{ session: Session; closed: boolean } | undefined> {
  const [row] = await rowsOf<SessionRow & { closed: boolean }>(client, {
    name: 'dismiss-session',
    text: `WITH closed AS (
             UPDATE policy.sessions SET ended_at = now(), end_reason = 'dismissed'
             WHERE id = $2 AND organization = $1 AND ended_at IS NULL RETURNING id
           )
           SELECT ${sessionColumns('s')}, EXISTS (SELECT FROM closed) AS closed FROM policy.sessions s
           WHERE s.id = $2 AND s.organization = $1`,
    values: [organization, id],
  });
  return row === undefined ? undefined : { session: sessionOf(row), closed: row.closed };
}

/** Ends the sessions of people whom a block of this subject stops. The caller holds openings, so that none is opened meanwhile. */
export async function endBlockedPeople(
  client: PoolClient,
  organization: string,
  subject: { readonly kind: string; readonly id: string },
): Promise<Session[]> {
  const rows = await rowsOf<SessionRow>(client, {
    name: 'end-blocked-people',
    text: `WITH held AS MATERIALIZED (
             SELECT s.id FROM policy.sessions s
             WHERE s.organization = $1 AND s.kind = 'person' AND s.ended_at IS NULL
               AND CASE $2 WHEN 'user' THEN s.user_name WHEN 'agent' THEN s.agent_id WHEN 'session' THEN s.id::text END = $3
             ORDER BY s.id FOR NO KEY UPDATE
           )
           UPDATE policy.sessions s SET ended_at = now(), end_reason = 'blocked' FROM held
           WHERE s.id = held.id AND s.ended_at IS NULL
           RETURNING ${sessionColumns('s')}`,
    values: [organization, subject.kind, subject.id],
  });
  return rows.map(sessionOf);
}
