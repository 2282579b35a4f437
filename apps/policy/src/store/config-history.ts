/** What is known of applied versions beside their documents. */
import { recoveryActor, type ConfigVersion } from '@mayfly/contracts';
import { rowsOf, type Database } from './statement.ts';

/** `applied_by` of a version that `mayfly-policy recover` has stored. */
export const recovery = recoveryActor;

/** At most `limit` versions below `before`, newest first. */
export async function listConfigVersions(
  database: Database,
  before: number | undefined,
  limit: number,
): Promise<ConfigVersion[]> {
  const rows = await rowsOf<
    Omit<ConfigVersion, 'applied_at'> & {
      applied_at: Date;
      applied_from: string | null;
      sessions_kept: boolean;
      same_as: number | null;
    }
  >(database, {
    name: 'list-config-versions',
    text: `SELECT v.version, v.sha256, v.applied_at, v.applied_by, v.applied_from, v.sessions_kept,
               (SELECT min(e.version) FROM policy.config_versions e WHERE e.sha256 = v.sha256 AND e.version < v.version) AS same_as
             FROM policy.config_versions v WHERE $1::integer IS NULL OR v.version < $1
             ORDER BY v.version DESC LIMIT $2`,
    values: [before ?? null, limit],
  });
  return rows.map(({ applied_from, same_as, sessions_kept, applied_at, ...row }) => ({
    ...row,
    applied_at: applied_at.toISOString(),
    ...(applied_from === null ? {} : { applied_from }),
    ...(sessions_kept ? { sessions_kept } : {}),
    ...(same_as === null ? {} : { same_as }),
  }));
}

/** The newest version that came from a recovery, whatever was applied since. */
export async function lastRecovery(
  database: Database,
): Promise<{ version: number; appliedAt: Date; appliedFrom: string } | undefined> {
  const [row] = await rowsOf<{ version: number; applied_at: Date; applied_from: string }>(database, {
    name: 'last-config-recovery',
    text: `SELECT version, applied_at, coalesce(applied_from, '') AS applied_from FROM policy.config_versions
           WHERE applied_by = $1 ORDER BY version DESC LIMIT 1`,
    values: [recovery],
  });
  return row === undefined
    ? undefined
    : { version: row.version, appliedAt: row.applied_at, appliedFrom: row.applied_from };
}
