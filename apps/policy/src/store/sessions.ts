/** Sessions in Postgres. All times by its clock. */
import type { PersonRole, RecipientKey } from '@mayfly/contracts';
import type { PoolClient } from 'pg';
import type { Session } from '../sessions/session.ts';
import { rowsOf, type Database } from './statement.ts';

export interface NewSession extends Omit<Session, 'expiresAt'> {
  readonly trustRule: string;
  /** At most 3600. */
  readonly ttlSeconds: number;
  /** It ends when it goes unheard for longer. */
  readonly heartbeatSeconds?: number;
  /** The version of the configuration that admitted it. */
  readonly configVersion: number;
  /** SHA-256 of what was signed of the identity token. */
  readonly identitySha256: Buffer;
  /** Most sessions that one identity token opens. */
  readonly mostOfIdentity: number;
}

export type OpeningOutcome =
  | { readonly outcome: 'opened'; readonly openedAt: Date; readonly expiresAt: Date }
  /** A newer version of the configuration is stored: admit it again by that. */
  | { readonly outcome: 'outdated_configuration' }
  /** The identity token has opened as many sessions as it may. */
  | { readonly outcome: 'identity_used_up' };

/**
 * For the transaction that opens a session, first of all: until its end nobody ends sessions because of a new configuration or a
 * block, and nobody else opens one with the same identity token. See `store/session-ends.ts`.
 */
export async function beginOpening(client: PoolClient, identitySha256: Buffer): Promise<void> {
  await rowsOf(client, {
    name: 'begin-opening',
    text: `SELECT set_config('idle_in_transaction_session_timeout', '3000', true),
             pg_advisory_xact_lock_shared(hashtextextended('mayfly session openings', 0)),
             pg_advisory_xact_lock(hashtextextended('mayfly identity ' || encode($1::bytea, 'hex'), 0))`,
    values: [identitySha256],
  });
}

/** Part of a transaction that has begun with `beginOpening`. */
export async function insertSession(database: Database, session: NewSession): Promise<OpeningOutcome> {
  const [row] = await rowsOf<{
    is_outdated: boolean;
    is_used_up: boolean;
    opened_at: Date;
    expires_at: Date;
  }>(database, {
    name: 'insert-session',
    text: `WITH may AS MATERIALIZED (
             SELECT EXISTS (SELECT FROM policy.config_versions v WHERE v.version > $13) AS is_outdated,
               EXISTS (SELECT FROM policy.sessions s WHERE s.identity_sha256 = $14 OFFSET $15 - 1) AS is_used_up
           ),
           opened AS (
             INSERT INTO policy.sessions
               (id, organization, agent_id, kind, agent_role, person_roles, user_name, task, recipient_key, trust_rule,
                opened_at, expires_at, heartbeat_seconds, heard_until, config_version, identity_sha256)
             SELECT $1, $2, $3, $4, $5, $6::text[], $7, $8, $9::jsonb, $10, now(), now() + make_interval(secs => $11),
               $12::integer, now() + make_interval(secs => $12::integer), $13, $14
             FROM may WHERE NOT is_outdated AND NOT is_used_up
             RETURNING opened_at, expires_at
           )
           SELECT may.*, opened.opened_at, opened.expires_at FROM may LEFT JOIN opened ON true`,
    values: [
      session.id,
      session.organization,
      session.agentId,
      session.kind,
      session.agentRole ?? null,
      session.personRoles,
      session.user ?? null,
      session.task ?? null,
      session.recipientKey === undefined ? null : JSON.stringify(session.recipientKey),
      session.trustRule,
      session.ttlSeconds,
      session.heartbeatSeconds ?? null,
      session.configVersion,
      session.identitySha256,
      session.mostOfIdentity,
    ],
  });
  if (row === undefined) throw new Error('the statement gave no row');
  if (row.is_outdated) return { outcome: 'outdated_configuration' };
  if (row.is_used_up) return { outcome: 'identity_used_up' };
  return { outcome: 'opened', openedAt: row.opened_at, expiresAt: row.expires_at };
}

/** The session, if it has neither ended nor expired. */
export async function findLiveSession(database: Database, id: string): Promise<Session | undefined> {
  const [row] = await rowsOf<SessionRow>(database, {
    name: 'find-live-session',
    text: `SELECT ${columns} FROM policy.sessions WHERE id = $1 AND ended_at IS NULL AND expires_at > now()`,
    values: [id],
  });
  return row === undefined ? undefined : sessionOf(row);
}

/**
 * Ends a session that lives; `closed` tells whether this call did. A session that has ended before is found too, so that
 * a caller whose first try broke half-way can finish it.
 */
export async function closeSession(
  database: Database,
  id: string,
): Promise<{ session: Session; closed: boolean } | undefined> {
  const [row] = await rowsOf<SessionRow & { closed: boolean }>(database, {
    name: 'close-session',
    text: `WITH closed AS (
             UPDATE policy.sessions SET ended_at = now(), end_reason = 'closed' WHERE id = $1 AND ended_at IS NULL
             RETURNING id
           )
           SELECT ${columns}, EXISTS (SELECT FROM closed) AS closed FROM policy.sessions WHERE id = $1`,
    values: [id],
  });
  return row === undefined ? undefined : { session: sessionOf(row), closed: row.closed };
}

/** Marks at most `limit` sessions whose time has come. Replicas that sweep at the same time take different ones. */
export async function expireDueSessions(database: Database, limit: number): Promise<Session[]> {
  const rows = await rowsOf<SessionRow>(database, {
    name: 'expire-due-sessions',
    text: `UPDATE policy.sessions SET ended_at = now(), end_reason = 'expired'
           WHERE id IN (
             SELECT id FROM policy.sessions WHERE ended_at IS NULL AND expires_at <= now()
             ORDER BY expires_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
           )
           RETURNING ${columns}`,
    values: [limit],
  });
  return rows.map(sessionOf);
}

/**
 * A session that asked for it has been heard of. Written when a third of its time has gone at the earliest; one whose time is
 * over is not brought back, unless nobody could hear it for all of that time.
 * @param hearingSeconds For how long it would have been heard.
 */
export async function noteHeard(database: Database, id: string, hearingSeconds: number): Promise<void> {
  await rowsOf(database, {
    name: 'note-heard',
    text: `UPDATE policy.sessions SET heard_until = now() + make_interval(secs => heartbeat_seconds)
           WHERE id = $1 AND ended_at IS NULL AND (heard_until > now() OR heartbeat_seconds > $2::double precision)
             AND heard_until < now() + make_interval(secs => heartbeat_seconds * 2.0 / 3)`,
    values: [id, hearingSeconds],
  });
}

/**
 * Ends at most `limit` sessions that went unheard for too long, of those that would have been heard for all of that time.
 * Replicas that sweep at the same time take different ones.
 * @param hearingSeconds As for `noteHeard`.
 */
export async function endUnheardSessions(
  database: Database,
  limit: number,
  hearingSeconds: number,
): Promise<Session[]> {
  const rows = await rowsOf<SessionRow>(database, {
    name: 'end-unheard-sessions',
    text: `UPDATE policy.sessions SET ended_at = now(), end_reason = 'unheard'
           WHERE id IN (
             SELECT id FROM policy.sessions
             WHERE ended_at IS NULL AND heard_until <= now() AND heartbeat_seconds <= $2::double precision
             ORDER BY heard_until LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED
           )
           RETURNING ${columns}`,
    values: [limit, hearingSeconds],
  });
  return rows.map(sessionOf);
}

/** Forgets at most `limit` sessions that ended more than 24 hours ago; answers with how many. */
export async function pruneSessions(database: Database, limit: number): Promise<number> {
  const rows = await rowsOf(database, {
    name: 'prune-sessions',
    text: `DELETE FROM policy.sessions WHERE id IN (
             SELECT id FROM policy.sessions WHERE ended_at < now() - interval '24 hours'
             ORDER BY ended_at LIMIT $1 FOR UPDATE SKIP LOCKED
           )
           RETURNING id`,
    values: [limit],
  });
  return rows.length;
}

/** The columns of a session, of the table or alias `s`. */
export function sessionColumns(s: string): string {
  return ['id', 'organization', 'agent_id', 'kind', 'agent_role', 'person_roles', 'user_name', 'task']
    .concat(['recipient_key', 'expires_at'])
    .map((column) => `${s}.${column}`)
    .join(', ');
}

const columns = sessionColumns('sessions');

export interface SessionRow {
  id: string;
  organization: string;
  agent_id: string;
  kind: 'agent' | 'person';
  agent_role: string | null;
  person_roles: PersonRole[];
  user_name: string | null;
  task: string | null;
  recipient_key: RecipientKey | null;
  expires_at: Date;
}

/** The session that a row tells. */
export function sessionOf(row: SessionRow): Session {
  return {
    id: row.id,
    organization: row.organization,
    agentId: row.agent_id,
    kind: row.kind,
    ...(row.agent_role === null ? {} : { agentRole: row.agent_role }),
    personRoles: row.person_roles,
    ...(row.user_name === null ? {} : { user: row.user_name }),
    ...(row.task === null ? {} : { task: row.task }),
    ...(row.recipient_key === null ? {} : { recipientKey: row.recipient_key }),
    expiresAt: row.expires_at,
  };
}
