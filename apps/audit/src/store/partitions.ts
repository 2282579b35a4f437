/** Partitions of the log, made ahead of time. */
import { inTransaction } from '@mayfly/postgres';
import type { Pool } from 'pg';

/** Months that are there before they begin. */
const monthsAhead = 3;

/**
 * Waits for other replicas that do the same. Not an advisory lock, which any role in the database could hold for ever: the row is the owner's
 * to lock.
 */
const lockMonths = `SELECT FROM audit.migrations WHERE id = (SELECT max(id) FROM audit.migrations) FOR UPDATE`;

/** Makes this month's partition and those of the next. Idempotent; several replicas may do it at once. */
export async function prepareMonths(pool: Pool): Promise<void> {
  await inTransaction(pool, async (client) => {
    await client.query(lockMonths);
    await client.query(
      `SELECT audit.prepare_month((now() AT TIME ZONE 'UTC' + month * interval '1 month')::date)
       FROM generate_series(0, $1) AS month`,
      [monthsAhead],
    );
  });
}
