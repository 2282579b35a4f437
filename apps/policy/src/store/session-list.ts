/** Live sessions as administrators see them. */
import type { PersonRole, SessionView } from '@mayfly/contracts';
import { rowsOf, type Database } from './statement.ts';

export interface SessionFilters {
  readonly organization: string;
  readonly kind: 'agent' | 'person' | undefined;
  readonly user: string | undefined;
  readonly agentId: string | undefined;
  /** Ids below this one: the last of the page before. */
  readonly before: string | undefined;
  readonly limit: number;
}

/** Newest first. */
export async function listLiveSessions(database: Database, filters: SessionFilters): Promise<SessionView[]> {
  const rows = await rowsOf<{
    id: string;
    kind: 'agent' | 'person';
    agent_id: string;
    agent_role: string | null;
    person_roles: PersonRole[];
    user_name: string | null;
    task: string | null;
    trust_rule: string;
    opened_at: Date;
    expires_at: Date;
  }>(database, {
    name: 'list-live-sessions',
    text: `SELECT s.id, s.kind, s.agent_id, s.agent_role, s.person_roles, s.user_name, s.task, s.trust_rule, s.opened_at,
             s.expires_at
           FROM policy.sessions s
           WHERE s.organization = $1 AND s.ended_at IS NULL AND s.expires_at > now() AND s.id < $2::uuid
             AND ($3::text IS NULL OR s.kind = $3) AND ($4::text IS NULL OR s.user_name = $4)
             AND ($5::text IS NULL OR s.agent_id = $5)
           ORDER BY s.id DESC LIMIT $6`,
    values: [
      filters.organization,
      filters.before ?? 'ffffffff-ffff-ffff-ffff-ffffffffffff',
      filters.kind ?? null,
      filters.user ?? null,
      filters.agentId ?? null,
      filters.limit,
    ],
  });
  return rows.map((row) => ({
    session_id: row.id,
    kind: row.kind,
    agent_id: row.agent_id,
    ...(row.agent_role === null ? {} : { agent_role: row.agent_role }),
    person_roles: row.person_roles,
    ...(row.user_name === null ? {} : { user: row.user_name }),
    ...(row.task === null ? {} : { task: row.task }),
    trust_rule: row.trust_rule,
    opened_at: row.opened_at.toISOString(),
    expires_at: row.expires_at.toISOString(),
  }));
}
