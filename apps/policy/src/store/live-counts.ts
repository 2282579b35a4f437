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
