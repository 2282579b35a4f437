/** Partitions of the log, made ahead of time. */
import type { Pool } from 'pg';

/** Months that are there before they begin. */
const monthsAhead = 3;

/** Makes this month's partition and those of the next. Idempotent; several replicas may do it at once. */
export async function prepareMonths(pool: Pool): Promise<void> {
  await pool.query(
    `SELECT pg_advisory_xact_lock(7340033), audit.prepare_month((now() AT TIME ZONE 'UTC' + month * interval '1 month')::date)
     FROM generate_series(0, $1) AS month`,
    [monthsAhead],
  );
}
