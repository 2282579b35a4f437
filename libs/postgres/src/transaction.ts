/** Transactions that are either committed for certain, or reported as failed. */
import type { Pool, PoolClient } from 'pg';
import { MayflyError } from '@mayfly/contracts';
import { asDependencyError, isDependencyFailure } from './dependency-error.ts';

/**
 * Runs `fn` in a transaction of its own. Resolves only after Postgres has acknowledged the COMMIT: what is resolved is
 * durable. Rejects when `fn` rejects (rolled back), or when the COMMIT fails; if the connection broke during COMMIT,
 * the outcome is unknown and the caller must act as if nothing had been committed, and as if it had.
 *
 * @throws MayflyError dependency_unavailable when Postgres is away; otherwise what `fn` or Postgres reported.
 */
export async function inTransaction<T>(pool: Pool, fn: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await connect(pool);
  // A checked-out client reports a lost connection as an event too, which would end the process. The statement in
  // progress, or the next one, rejects with the same failure.
  const ignore = () => undefined;
  client.on('error', ignore);
  let broken = false;
  try {
    await client.query('BEGIN');
    const result = await fn(client);
    await commit(client);
    return result;
  } catch (error) {
    broken = !(await rollback(client, error));
    throw asDependencyError(error);
  } finally {
    client.off('error', ignore);
    client.release(broken);
  }
}

async function connect(pool: Pool): Promise<PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw asDependencyError(error);
  }
}

/**
 * Postgres answers the COMMIT of a failed transaction with the tag ROLLBACK and no error. That happens when `fn`
 * swallowed the error of a statement; taking it for a commit would release what was never stored.
 */
async function commit(client: PoolClient): Promise<void> {
  const { command } = await client.query('COMMIT');
  if (command !== 'COMMIT') {
    throw new MayflyError('internal', 'The change was not stored.', {
      cause: new Error(`COMMIT was answered with ${command}: a statement failed and its error was swallowed`),
    });
  }
}

/** False when the connection is in no known state and must not go back into the pool. */
async function rollback(client: PoolClient, error: unknown): Promise<boolean> {
  const cause = error instanceof MayflyError ? error.cause : error;
  // A statement that timed out on our side may still be running: a ROLLBACK would wait behind it.
  if (isDependencyFailure(cause)) return false;
  try {
    await client.query('ROLLBACK');
    return true;
  } catch {
    return false;
  }
}
