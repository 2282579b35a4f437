/** How many live now, by what of the configuration they hang on. */
import { rowsOf, type Database } from './statement.ts';

/** Live sessions by the trust rule that admitted them. */
export async function countLiveSessions(
  database: Database,
): Promise<{ organization: string; trust_rule: string; sessions: number }[]> {
  return rowsOf(database, {
    name: 'count-live-sessions',
    text: `SELECT organization, trust_rule, count(*)::integer AS sessions FROM policy.sessions
           WHERE ended_at IS NULL AND expires_at > now() GROUP BY organization, trust_rule`,
  });
}

/**
 * Whether something of a credential, an integration or an agent may live that no configuration has (any longer): leases that have not
 * ended, as policy knows, and sessions of the last 24 hours. An index serves the first, a table of sessions that is pruned the second.
 */
export async function mayLive(
  database: Database,
  organization: string,
  { kind, id }: { readonly kind: string; readonly id: string },
): Promise<boolean> {
  const rows = await rowsOf(database, {
    name: 'may-live',
    text: `SELECT FROM policy.reservations
           WHERE organization = $1 AND ended_at IS NULL
             AND ($2 = 'credential' AND credential = $3 OR $2 = 'integration' AND split_part(credential, '/', 1) = $3)
           UNION ALL
           SELECT FROM policy.sessions WHERE $2 = 'agent' AND organization = $1 AND agent_id = $3
           LIMIT 1`,
    values: [organization, kind, id],
  });
  return rows.length > 0;
}
