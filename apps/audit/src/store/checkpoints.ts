/** Checkpoints in Postgres. */
import { inTransaction } from '@mayfly/postgres';
import type { Pool } from 'pg';

/**
 * Locks a row that is always there, and answers with nothing while another replica holds it. Not an advisory lock: any role in the
 * database may take one of those, and would stop checkpoints without a trace. A lock on a row takes a right to change the table, which
 * the owner alone has.
 */
const lockCheckpoints = `
  SELECT FROM audit.migrations WHERE id = (SELECT min(id) FROM audit.migrations) FOR UPDATE SKIP LOCKED`;

/** The end of the chain, where the newest checkpoint does not cover it, and that checkpoint. */
const readHead = `
  SELECT head.seq::int8 AS seq, encode(head.hash, 'hex') AS hash, newest.token AS newest
  FROM audit.chain_head AS head
  LEFT JOIN LATERAL (SELECT c.seq, c.token FROM audit.checkpoint AS c ORDER BY c.seq DESC LIMIT 1) AS newest ON true
  WHERE head.seq > coalesce(newest.seq, 0)`;

/** What there is to be signed. */
export interface EndToSign {
  readonly seq: number;
  /** Hex. */
  readonly hash: string;
  /** Token of the newest checkpoint; undefined when this will be the first. */
  readonly newest: string | undefined;
}

/**
 * Adds a checkpoint of the chain's end, unless the newest one covers it already. One replica at a time; the others skip. `sign`
 * runs while no other can add one, so the newest is the one before this.
 */
export async function addCheckpoint(
  pool: Pool,
  now: Date,
  sign: (end: EndToSign) => Promise<string>,
): Promise<void> {
  await inTransaction(pool, async (client) => {
    if ((await client.query(lockCheckpoints)).rowCount !== 1) return;
    const head = (await client.query<{ seq: string; hash: string; newest: string | null }>(readHead)).rows[0];
    if (head === undefined) return;
    const { hash, newest } = head;
    const token = await sign({ seq: Number(head.seq), hash, newest: newest ?? undefined });
    await client.query(
      `INSERT INTO audit.checkpoint (seq, hash, at, token) VALUES ($1, decode($2, 'hex'), $3, $4)`,
      [head.seq, head.hash, now, token],
    );
  });
}

/** The checkpoint of a row; undefined when there is none. */
export async function checkpointOf(pool: Pool, seq: number): Promise<string | undefined> {
  const { rows } = await pool.query<{ token: string }>('SELECT token FROM audit.checkpoint WHERE seq = $1', [
    seq,
  ]);
  return rows[0]?.token;
}

/** Checkpoints beyond a row, oldest first, at most 10,000 at once. */
export async function checkpointsAfter(pool: Pool, seq: number): Promise<{ seq: number; token: string }[]> {
  const { rows } = await pool.query<{ seq: string; token: string }>(
    'SELECT seq::int8 AS seq, token FROM audit.checkpoint WHERE seq > $1 ORDER BY seq LIMIT 10000',
    [seq],
  );
  return rows.map((row) => ({ seq: Number(row.seq), token: row.token }));
}
