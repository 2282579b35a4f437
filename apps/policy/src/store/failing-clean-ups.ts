/** Ended leases whose clean-up upstream fails: what counts against their orchestration. The rule is in `migrations/0008_failing_cleanups.sql`. */
import { rowsOf, type Database } from './statement.ts';

/** How many clean-ups may fail for an orchestration to get another lease at an integration. */
export interface CleanUpLimit {
  /** Of whoever asks; undefined counts nothing. */
  readonly orchestration: string | undefined;
  readonly integration: string;
  /** At this many it gets no more. */
  readonly most: number;
}

/** The parameters of a limit, in the order in which the functions of the schema take them; nulls where there is none. */
export function cleanUpLimitValues(limit: CleanUpLimit | undefined): (string | number | null)[] {
  return [limit?.orchestration ?? null, limit?.integration ?? null, limit?.most ?? null];
}

export interface FailingCleanUp {
  readonly leaseId: string;
  readonly organization: string;
  readonly orchestration: string;
  readonly integration: string;
}

/** What the events of a batch tell about clean-ups, each lease once. */
export interface CleanUpNews {
  readonly failing: readonly FailingCleanUp[];
  /** Ids of leases that have been cleaned up after. */
  readonly cleanedUp: readonly string[];
}

/** Notes what became of clean-ups. Safe to repeat; what was done before it is told to fail counts until the register is asked. */
export async function recordCleanUpNews(
  database: Database,
  { failing, cleanedUp }: CleanUpNews,
): Promise<void> {
  if (failing.length > 0) {
    await rowsOf(database, {
      name: 'record-failing-cleanups',
      text: `INSERT INTO policy.failing_cleanups (lease_id, organization, orchestration, integration)
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
             ON CONFLICT (lease_id) DO NOTHING`,
      values: [
        failing.map(({ leaseId }) => leaseId),
        failing.map(({ organization }) => organization),
        failing.map(({ orchestration }) => orchestration),
        failing.map(({ integration }) => integration),
      ],
    });
  }
  if (cleanedUp.length === 0) return;
  await rowsOf(database, {
    name: 'forget-failing-cleanups',
    // In one order everywhere, so that two who write many never deadlock.
    text: `DELETE FROM policy.failing_cleanups WHERE lease_id IN (
             SELECT lease_id FROM policy.failing_cleanups WHERE lease_id = ANY ($1::uuid[]) ORDER BY lease_id FOR UPDATE)`,
    values: [cleanedUp],
  });
}

/**
 * Takes at most `limit` leases whose clean-up has been failing for two minutes at least: the event that it is done may have been
 * lost. None of them is taken again within `everyMs`, by whatever replica; those that were never taken come first.
 */
export async function takeLongFailingCleanUps(
  database: Database,
  everyMs: number,
  limit: number,
): Promise<string[]> {
  const rows = await rowsOf<{ lease_id: string }>(database, {
    name: 'take-long-failing-cleanups',
    text: `UPDATE policy.failing_cleanups SET asked_about_at = now() WHERE lease_id IN (
             SELECT f.lease_id FROM policy.failing_cleanups f
             WHERE f.since < now() - interval '2 minutes'
               AND (f.asked_about_at IS NULL OR f.asked_about_at <= now() - $1::double precision * interval '1 millisecond')
             ORDER BY f.asked_about_at NULLS FIRST LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
           )
           RETURNING lease_id`,
    values: [everyMs, limit],
  });
  return rows.map((row) => row.lease_id);
}
