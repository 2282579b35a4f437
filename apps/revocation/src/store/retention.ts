/** Forgetting what nobody needs any more, some at a time. The audit log keeps the story of every lease. */
import type { Pool } from 'pg';

/**
 * Removes leases that ended more than `keepSeconds` ago and of which nothing is left to do; at most `limit`. Answers with how
 * many. Found by the time in their ids, oldest first, so that it takes no index of its own.
 */
export async function pruneLeases(pool: Pool, keepSeconds: number, limit: number): Promise<number> {
  const { rowCount } = await pool.query({
    name: 'prune_leases',
    text: `
      DELETE FROM revocation.leases WHERE lease_id IN (
        SELECT l.lease_id FROM revocation.leases l
        WHERE l.lease_id < (lpad(to_hex((extract(epoch FROM now() - make_interval(secs => $1)) * 1000)::bigint), 12, '0')
                            || repeat('0', 20))::uuid
          AND l.due_at IS NULL AND l.ended_at < now() - make_interval(secs => $1)
        ORDER BY l.lease_id LIMIT $2 FOR UPDATE SKIP LOCKED)`,
    values: [keepSeconds, limit],
  });
  return rowCount ?? 0;
}

/** Removes fences that no grant can be older than; at most `limit`. Answers with how many. */
export async function pruneFences(pool: Pool, keepSeconds: number, limit: number): Promise<number> {
  const { rowCount } = await pool.query({
    name: 'prune_fences',
    text: `
      DELETE FROM revocation.fences f USING (
        SELECT organization, subject_kind, subject_id, agent_id FROM revocation.fences
        WHERE recorded_at < now() - make_interval(secs => $1)
        ORDER BY recorded_at LIMIT $2 FOR UPDATE SKIP LOCKED) AS old
      WHERE f.organization = old.organization AND f.subject_kind = old.subject_kind
        AND f.subject_id = old.subject_id AND f.agent_id = old.agent_id`,
    values: [keepSeconds, limit],
  });
  return rowCount ?? 0;
}
