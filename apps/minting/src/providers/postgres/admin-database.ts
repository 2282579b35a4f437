/**
 * One database, as the integration's privileged role sees it: a small pool, one statement at a time, errors typed. What ends
 * something gets the next free connection, however many mints wait; one connection is left to those, however many ends there are.
 * Beside the pool one connection is kept for ends, for when the server has no other to give.
 */
import { connectionUrlOf } from '@mayfly/domain';
import type pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { ProviderBusy, ProviderUnavailable } from '../provider-error.ts';
import { Turns } from '../turns.ts';
import { AdminConnections, type AdminPoolSettings } from './connecting/admin-connections.ts';
import { adminConnection, type AdminConnection } from './connecting/admin-url.ts';
import type { TlsFiles } from './connecting/tls-files.ts';
import { arrivedLate, clockMs, isFresh, type ClockReading } from './server-clock.ts';
import { KeptConnection } from './kept-connection.ts';
import { makeRoom } from './make-room.ts';
import { askIdentityAnd, identityIn, type ServerIdentity } from './server-identity.ts';
import { sessionReset } from './session-setup.ts';
import {
  outOfMemory,
  readOnlyTransaction,
  sqlStateOf,
  tooManyConnections,
  upstreamFailure,
} from './upstream-error.ts';

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
   * The text opens transactions of its own: after an error the session is put back to how it was.
   * Default false: PostgreSQL runs the whole text as one transaction.
   */
  readonly ownTransactions?: boolean;
  /** Statements of the customer's own are among them, which may leave anything in the session: it is put back in any case. */
  readonly isCustom?: boolean;
  readonly values?: readonly unknown[];
  /**
   * How much there is to do is up to the holder of a lease. It never goes to the connection that is kept for ends, which are all to have
   * their turn there, and is told nothing of the locks in reserve: the server may have enough for everybody else. Default false.
   */
  readonly isUpToLease?: boolean;
  /** `statement_timeout` that the text sets for itself, when it is shorter than the connection's. Milliseconds. */
  readonly statementTimeoutMs?: number;
}

/** The texts for a connection that has been had, each a message of its own. */
type Prepare<Server> = (
  client: pg.ClientBase,
) => Promise<{ readonly texts: readonly string[]; readonly server: Server }>;

/** A connection while it is used. */
interface Lent {
  readonly client: pg.ClientBase;
  /** Takes it back; with an error it is not used again. */
  release(failed?: Error): void;
}

/** How long an end waits for its turn before it takes the connection that is kept for ends. Milliseconds. */
const longestVitalWaitMs = 250;

export type Rows = readonly Record<string, unknown>[];

export class AdminDatabase {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  /** All that the URL says; `host` and `port` are the first of its hosts. */
  readonly connection: AdminConnection;
  /** Of every connection. */
  readonly #settings: AdminPoolSettings;
  readonly #connections: AdminConnections;
  /** As many at once as there are connections, so that it is here that what waits is put in order, and never in the pool. */
  readonly #turns: Turns;
  readonly #kept: KeptConnection;
  #keeps = false;
  #isClosed = false;
  readonly #reached = new WeakMap<pg.ClientBase, ReachedServer>();
  #facts: Promise<ServerFacts> | undefined;
  /** The same, once they have been had. */
  #known: ServerFacts | undefined;

  /**
   * `tlsFiles` are the files that the URL names. Throws ProviderRejected when `url` is no connection URL or the files are of no use.
   */
  constructor(
    url: string,
    private readonly limits: AdminDatabaseLimits,
    readonly tlsFiles: TlsFiles = {},
  ) {
    this.connection = adminConnection(url);
    ({ host: this.host, port: this.port } = this.connection.hosts[0]);
    this.database = this.connection.database;
    this.#turns = new Turns({ most: limits.maxConnections });
    this.#settings = {
      application_name: 'mayfly-minting',
      statement_timeout: limits.statementTimeoutMs,
      lock_timeout: limits.statementTimeoutMs,
      idle_in_transaction_session_timeout: limits.statementTimeoutMs,
      keepAlive: true,
      connectionTimeoutMillis: limits.connectTimeoutMs,
      allowExitOnIdle: true,
    };
    this.#connections = new AdminConnections(this.connection, tlsFiles, {
      ...this.#settings,
      max: limits.maxConnections,
      idleTimeoutMillis: 30_000,
    });
    this.#kept = new KeptConnection(
      new AdminConnections(this.connection, tlsFiles, { ...this.#settings, max: 1, idleTimeoutMillis: 0 }),
    );
  }

  /** The same servers and role, another database. Needs the same `tlsFiles`. */
  urlOf(database: string): string {
    return connectionUrlOf({ ...this.connection, database });
  }

  /** Version and rights, asked once per process. */
  facts(deadline: Deadline): Promise<ServerFacts> {
    this.#facts ??= this.run(
      `SELECT current_setting('server_version_num')::int AS version,
              coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false) AS superuser,
              current_user::text AS role`,
      deadline,
    ).then(([rows]) => (this.#known = rows?.[0] as unknown as ServerFacts));
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
    const { rows } = await this.#run(
      () => Promise.resolve({ texts: [text], server: undefined }),
      deadline,
      options,
    );
    return rows;
  }

  /** Runs each text by itself, one after the other on one connection, which is put back to how it was afterwards. Throws as `run`. */
  async runEach(texts: readonly string[], deadline: Deadline, options: StatementOptions = {}): Promise<void> {
    const prepare = () => Promise.resolve({ texts, server: undefined });
    await this.#run(prepare, deadline, { ...options, ownTransactions: true, isCustom: true });
  }

  /**
   * Keeps a connection for ends from the next answer of the server on, also one that it has none to give, until it is closed. Made
   * in the background.
   */
  keepConnection(): void {
    this.#keeps = true;
  }

  /** Whether it is there. */
  get hasKeptConnection(): boolean {
    return this.#kept.isHeld;
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
    const prepare = async (client: pg.ClientBase) => {
      const server = await this.#serverOf(client);
      return { texts: [textFor(server)], server };
    };
    return this.#run(prepare, deadline, options);
  }

  /** In its turn. Throws ProviderBusy when that does not come soon enough. */
  async #run<Server>(
    prepare: Prepare<Server>,
    deadline: Deadline,
    options: StatementOptions,
  ): Promise<{ readonly rows: Rows[]; readonly server: Server }> {
    const mayUseKept = deadline.isVital && options.isUpToLease !== true;
    const waitMs = deadline.isVital ? longestVitalWaitMs : Infinity;
    const giveBack = await this.#turns.take(Math.min(this.limits.connectTimeoutMs, waitMs), deadline);
    if (giveBack === undefined) {
      const used = mayUseKept ? this.#runOnKept(prepare, deadline, options) : undefined;
      if (used !== undefined) return used;
      throw new ProviderBusy('too much is waiting for the database');
    }
    try {
      return await this.#runNow(prepare, deadline, options, mayUseKept);
    } finally {
      giveBack();
    }
  }

  async #runNow<Server>(
    prepare: Prepare<Server>,
    deadline: Deadline,
    options: StatementOptions,
    mayUseKept: boolean,
  ): Promise<{ readonly rows: Rows[]; readonly server: Server }> {
    try {
      return await this.#runOn(await this.#connect(), prepare, deadline, options);
    } catch (error) {
      // The server has no connection to give, or no lock. The connection that is kept is for this.
      const state = sqlStateOf((error as Error).cause);
      if (state === tooManyConnections && this.#keeps) this.#kept.hold();
      if (!mayUseKept || (state !== tooManyConnections && state !== outOfMemory)) throw error;
      const used = this.#runOnKept(
        prepare,
        deadline,
        options,
        state === outOfMemory ? (client) => this.#makeRoom(client) : undefined,
      );
      if (used === undefined) throw error;
      return used;
    }
  }

  /** For a server that has no lock left. */
  #makeRoom(client: pg.ClientBase): Promise<void> {
    return makeRoom(client, {
      facts: this.#known,
      database: this.database,
      openOther: (database) =>
        new AdminConnections({ ...this.connection, database }, this.tlsFiles, { ...this.#settings, max: 1 }),
    });
  }

  /** Undefined while there is none. */
  #runOnKept<Server>(
    prepare: Prepare<Server>,
    deadline: Deadline,
    options: StatementOptions,
    room?: (client: pg.ClientBase) => Promise<void>,
  ) {
    const runOn = (client: pg.ClientBase) => {
      const release = (failed?: Error) => {
        if (failed !== undefined) this.#kept.replace(client);
      };
      return this.#runOn({ client, release }, prepare, deadline, options);
    };
    return this.#kept.use(runOn, deadline, room);
  }

  async #runOn<Server>(
    lent: Lent,
    prepare: Prepare<Server>,
    deadline: Deadline,
    { ownTransactions = false, isCustom = false, values, statementTimeoutMs }: StatementOptions,
  ): Promise<{ readonly rows: Rows[]; readonly server: Server }> {
    const { client } = lent;
    const isTooLate = () => this.#isTooLate(deadline, statementTimeoutMs);
    if (isTooLate()) {
      lent.release();
      throw tooLate();
    }
    // A client that is in use reports a lost connection as an event too, which would end the process; its query rejects.
    client.on('error', ignore);
    let spoilt: Error | undefined;
    const onAbort = () => {
      // Cuts the connection, which makes the query reject; the server ends the statement by its own timeout.
      spoilt = new Error('deadline passed');
      lent.release(spoilt);
    };
    deadline.signal.addEventListener('abort', onAbort, { once: true });
    let failed: Error | undefined;
    let mustReset = isCustom;
    let prepared = false;
    let sent = false;
    try {
      const { texts, server } = await prepare(client);
      prepared = true;
      if (isTooLate()) throw tooLate();
      sent = true;
      const results: unknown[] = [];
      for (const text of texts)
        results.push(await (values === undefined ? client.query(text) : client.query(text, [...values])));
      if (this.#keeps) this.#kept.hold();
      const rows = results.flat().map((result) => (result as pg.QueryResult<Record<string, unknown>>).rows);
      return { rows, server };
    } catch (error) {
      const failure = upstreamFailure(error, sent);
      const state = sqlStateOf(failure.cause);
      // A server that has become a standby is left, so that the next connection finds the one that has taken over.
      if (!prepared || failure.effect === 'unknown' || state === readOnlyTransaction) failed = failure;
      else if (sent && ownTransactions) mustReset = true;
      if (state === arrivedLate) this.#reached.delete(client);
      throw failure;
    } finally {
      if (mustReset && failed === undefined && spoilt === undefined) failed = await reset(client);
      deadline.signal.removeEventListener('abort', onAbort);
      if (spoilt === undefined) {
        client.off('error', ignore);
        lent.release(failed);
      }
    }
  }

  #isTooLate(deadline: Deadline, statementTimeoutMs = this.limits.statementTimeoutMs): boolean {
    return deadline.remainingMs() < statementTimeoutMs || deadline.signal.aborted;
  }

  async #serverOf(client: pg.ClientBase): Promise<ReachedServer> {
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

  /** Whether it has been let go. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([this.#kept.close(), this.#connections.end()]);
  }

  async #connect(): Promise<Lent> {
    const client = await this.#connections.connect();
    return { client, release: (failed) => client.release(failed) };
  }
}

/** Puts the session back to how it was set up; the error when that fails. */
async function reset(client: pg.ClientBase): Promise<Error | undefined> {
  try {
    for (const text of sessionReset) await client.query(text);
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

function tooLate(): ProviderUnavailable {
  return new ProviderUnavailable('the database is too slow or too busy');
}

function ignore(): void {
  // Told elsewhere.
}
