/** Checkpoints in Postgres. */
import { inTransaction } from '@mayfly/postgres';
import type { Pool } from 'pg';

/** Any number; the advisory locks of this schema are its own. */
const checkpointLock = 7_340_032;

const readHead = `
  SELECT head.seq::int8 AS seq, encode(head.hash, 'hex') AS hash FROM audit.chain_head AS head
  WHERE head.seq > coalesce((SELECT max(seq) FROM audit.checkpoint), 0)`;

/**
 * Adds a checkpoint of the chain's end, unless the newest one covers it already. One replica at a time; the others skip.
 */
export async function addCheckpoint(
  pool: Pool,
  now: Date,
  sign: (head: { seq: number; hash: string }) => Promise<string>,
): Promise<void> {
  await inTransaction(pool, async (client) => {
    const lock = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_xact_lock($1) AS locked', [
      checkpointLock,
    ]);
    if (lock.rows[0]?.locked !== true) return;
    const head = (await client.query<{ seq: string; hash: string }>(readHead)).rows[0];
    if (head === undefined) return;
    const token = await sign({ seq: Number(head.seq), hash: head.hash });
    await client.query(
      `INSERT INTO audit.checkpoint (seq, hash, at, token) VALUES ($1, decode($2, 'hex'), $3, $4)`,
      [head.seq, head.hash, now, token],
    );
  });
}

/** Checkpoints beyond a row, oldest first, at most 10,000 at once. */
export async function checkpointsAfter(pool: Pool, seq: number): Promise<{ seq: number; token: string }[]> {
  const { rows } = await pool.query<{ seq: string; token: string }>(
    'SELECT seq::int8 AS seq, token FROM audit.checkpoint WHERE seq > $1 ORDER BY seq LIMIT 10000',
    [seq],
  );
  return rows.map((row) => ({ seq: Number(row.seq), token: row.token }));
}
