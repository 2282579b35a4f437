/**
 * Connections of one service to its schema. Give statements a `name` where they run often: Postgres then plans them
 * once per connection, and spans are named after them.
 */
import pg from 'pg';

export interface PoolSettings {
  /** `postgres://user:password@host:port/database`; what it says wins over the other settings. */
  readonly connectionString: string;
  /** Shown in `pg_stat_activity`: `mayfly-revocation`. */
  readonly applicationName: string;
  /** Most connections open at once. */
  readonly max: number;
  /** Enforced by Postgres. A server that hangs is given up one second later, by the client. */
  readonly statementTimeoutMs: number;
  /** How long a statement may wait for a lock; as long as the statement itself unless told. */
  readonly lockTimeoutMs?: number;
  /**
   * How long a transaction may stand still between two statements before Postgres ends it, which bounds how long a process that is
   * paused, or whose machine is gone, keeps the others from what it has locked. Twice the time of a statement unless told.
   */
  readonly idleInTransactionMs?: number;
  /** How long to wait for a connection, both from the pool and from the server. */
  readonly connectionTimeoutMs: number;
  /** Told of idle connections that broke, such as by a restart of Postgres. The pool replaces them by itself. */
  readonly onIdleError: (error: Error) => void;
}

/** Makes a pool. Nothing is connected until the first statement; end it with `pool.end()`. */
export function createPool(settings: PoolSettings): pg.Pool {
  const { statementTimeoutMs } = settings;
  const pool = new pg.Pool({
    connectionString: settings.connectionString,
    application_name: settings.applicationName,
    max: settings.max,
    statement_timeout: statementTimeoutMs,
    lock_timeout: settings.lockTimeoutMs ?? statementTimeoutMs,
    idle_in_transaction_session_timeout: settings.idleInTransactionMs ?? 2 * statementTimeoutMs,
    query_timeout: statementTimeoutMs + 1_000,
    connectionTimeoutMillis: settings.connectionTimeoutMs,
    keepAlive: true,
  });
  // Without a listener, the loss of an idle connection ends the process.
  pool.on('error', (error) => settings.onIdleError(error));
  return pool;
}
