/**
 * One database, as the integration's privileged role sees it: a small pool, one statement at a time, errors typed. What ends
 * something gets the next free connection, however many mints wait; one connection is left to those, however many ends there are.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { ProviderBusy, ProviderRejected, ProviderUnavailable } from '../provider-error.ts';
import { Turns } from '../turns.ts';
import { arrivedLate, clockMs, isFresh, type ClockReading } from './server-clock.ts';
import { askIdentityAnd, identityIn, type ServerIdentity } from './server-identity.ts';
import { sqlStateOf, upstreamFailure } from './upstream-error.ts';

export interface AdminDatabaseLimits {
  /** Most connections to one database as one privileged role. */
  readonly maxConnections: number;
  /** `statement_timeout`, in milliseconds: enforced by the server, so nothing takes effect later than that. */
  readonly statementTimeoutMs: number;
  /** Longest wait for a free connection, and longest that making one takes, in milliseconds. */
  readonly connectTimeoutMs: number;
}

/** What decides which statements are needed. */
export interface ServerFacts {
  /** `server_version_num`: 180004 for 18.4. */
  readonly version: number;
  readonly superuser: boolean;
  /** Name of the privileged role. */
  readonly role: string;
}

/** What is known of the server at the other end of a connection; behind one address there may be another tomorrow. */
export interface ReachedServer {
  readonly identity: ServerIdentity | undefined;
  readonly clock: ClockReading;
}

interface StatementOptions {
  /**
   * The text opens transactions of its own: after an error the connection is given up rather than cleaned up.
   * Default false: PostgreSQL runs the whole text as one transaction.
   */
  readonly ownTransactions?: boolean;
  readonly values?: readonly unknown[];
}

/** The text for a connection that has been had. */
type Prepare<Server> = (client: pg.PoolClient) => Promise<{ readonly text: string; readonly server: Server }>;

export type Rows = readonly Record<string, unknown>[];

export class AdminDatabase {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly #pool: pg.Pool;
  /** As many at once as there are connections, so that it is here that what waits is put in order, and never in the pool. */
  readonly #turns: Turns;
  readonly #reached = new WeakMap<pg.PoolClient, ReachedServer>();
  #facts: Promise<ServerFacts> | undefined;

  /** Throws ProviderRejected when `url` is no connection URL. */
  constructor(
    private readonly url: string,
    private readonly limits: AdminDatabaseLimits,
  ) {
    const config = {
      connectionString: url,
      application_name: 'mayfly-minting',
      statement_timeout: limits.statementTimeoutMs,
      lock_timeout: limits.statementTimeoutMs,
      idle_in_transaction_session_timeout: limits.statementTimeoutMs,
      options: '-c standard_conforming_strings=on',
      keepAlive: true,
    };
    try {
      if (!/^postgres(?:ql)?:\/\//.test(url)) throw new TypeError('not a postgres:// URL');
      // A client knows how the driver reads the URL and its defaults; this one never connects.
      const { host, port, database, user } = new pg.Client(config);
      this.host = host;
      this.port = port;
      this.database = database ?? user ?? 'postgres';
    } catch {
      // The driver's message may quote the URL.
      throw new ProviderRejected("the integration's admin URL is not a PostgreSQL connection URL");
    }
    this.#turns = new Turns({ most: limits.maxConnections });
    this.#pool = new pg.Pool({
      ...config,
      max: limits.maxConnections,
      idleTimeoutMillis: 30_000,
      connectionTimeoutMillis: limits.connectTimeoutMs,
      allowExitOnIdle: true,
    });
    // An idle connection that the server ends: the pool has dropped it already.
    this.#pool.on('error', () => undefined);
  }

  /** The same server and role, another database. */
  urlOf(database: string): string {
    // Not by `URL`, which refuses what the driver takes: a URL without a host, for a folder of sockets in its query.
    return this.url.replace(/^([a-z]+:\/\/[^/?#]*)(?:\/[^?#]*)?/, (_, server: string) => {
      return `${server}/${encodeURIComponent(database)}`;
    });
  }

  /** Version and rights, asked once per process. */
  facts(deadline: Deadline): Promise<ServerFacts> {
    this.#facts ??= this.run(
      `SELECT current_setting('server_version_num')::int AS version,
              coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
              current_user::text AS role`,
      deadline,
    ).then(([rows]) => rows?.[0] as unknown as ServerFacts);
    this.#facts.catch(() => (this.#facts = undefined));
    return this.#facts;
  }

  /** They are asked for again: the server was upgraded, or the rights of the privileged role were changed. */
  forgetFacts(): void {
    this.#facts = undefined;
  }

  /**
   * Runs one text in one round trip and answers with the rows of each of its statements. Starts only while the server's own
   * timeout still ends before the deadline. Throws ProviderRejected or ProviderUnavailable.
   */
  async run(text: string, deadline: Deadline, options: StatementOptions = {}): Promise<Rows[]> {
    const { rows } = await this.#run(() => Promise.resolve({ text, server: undefined }), deadline, options);
    return rows;
  }

  /**
   * As `run`, for a text that depends on the server that it goes to, which it answers with. A connection is asked for that when it
   * is new and once a minute, in one more round trip.
   */
  runKnowing(
    textFor: (server: ReachedServer) => string,
    deadline: Deadline,
    options: StatementOptions = {},
  ): Promise<{ readonly rows: Rows[]; readonly server: ReachedServer }> {
    const prepare = async (client: pg.PoolClient) => {
      const server = await this.#serverOf(client);
      return { text: textFor(server), server };
    };
    return this.#run(prepare, deadline, options);
  }

  /** In its turn. Throws ProviderBusy when that does not come soon enough. */
  async #run<Server>(
    prepare: Prepare<Server>,
    deadline: Deadline,
    options: StatementOptions,
  ): Promise<{ readonly rows: Rows[]; readonly server: Server }> {
    const giveBack = await this.#turns.take(this.limits.connectTimeoutMs, deadline);
    if (giveBack === undefined) throw new ProviderBusy('too much is waiting for the database');
    try {
      return await this.#runNow(prepare, deadline, options);
    } finally {
      giveBack();
    }
  }

  async #runNow<Server>(
    prepare: Prepare<Server>,
    deadline: Deadline,
    { ownTransactions, values }: StatementOptions,
  ): Promise<{ readonly rows: Rows[]; readonly server: Server }> {
    const client = await this.#connect();
    if (this.#isTooLate(deadline)) {
      client.release();
      throw tooLate();
    }
    // A client that is in use reports a lost connection as an event too, which would end the process; its query rejects.
    client.on('error', ignore);
    let spoilt: Error | undefined;
    const onAbort = () => {
      // Cuts the connection, which makes the query reject; the server ends the statement by its own timeout.
      spoilt = new Error('deadline passed');
      client.release(spoilt);
    };
    deadline.signal.addEventListener('abort', onAbort, { once: true });
    let failed: Error | undefined;
    let prepared = false;
    let sent = false;
    try {
      const { text, server } = await prepare(client);
      prepared = true;
      if (this.#isTooLate(deadline)) throw tooLate();
      sent = true;
      const results: unknown = await (values === undefined
        ? client.query(text)
        : client.query(text, [...values]));
      const rows = [results].flat().map((result) => (result as pg.QueryResult<Record<string, unknown>>).rows);
      return { rows, server };
    } catch (error) {
      const failure = upstreamFailure(error, sent);
      const isClean = prepared && !(sent && ownTransactions === true) && failure.effect !== 'unknown';
      if (!isClean) failed = failure;
      if (sqlStateOf(failure.cause) === arrivedLate) this.#reached.delete(client);
      throw failure;
    } finally {
      deadline.signal.removeEventListener('abort', onAbort);
      if (spoilt === undefined) {
        client.off('error', ignore);
        client.release(failed);
      }
    }
  }

  #isTooLate(deadline: Deadline): boolean {
    return deadline.remainingMs() < this.limits.statementTimeoutMs || deadline.signal.aborted;
  }

  async #serverOf(client: pg.PoolClient): Promise<ReachedServer> {
    const known = this.#reached.get(client);
    if (known !== undefined && isFresh(known.clock, performance.now())) return known;
    const results: unknown = await client.query(askIdentityAnd(`${clockMs} AS clock_ms`));
    const readAt = performance.now();
    const [row] = ([results].flat().at(-1) as pg.QueryResult<Record<string, unknown>>).rows;
    const clock = { serverMs: Number(row?.['clock_ms']), readAt };
    const server = { identity: identityIn(row), clock };
    this.#reached.set(client, server);
    return server;
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw upstreamFailure(error, false);
    }
  }
}

function tooLate(): ProviderUnavailable {
  return new ProviderUnavailable('the database is too slow or too busy');
}

function ignore(): void {
  // Told elsewhere.
}
