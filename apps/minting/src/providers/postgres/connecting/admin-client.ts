/**
 * One try to connect: at one host, with TLS or without. A client of node-pg that is connected only when the server at the other end
 * is one that will do, so that a pool never holds another. Nothing comes from the environment: of one process's PGPASSWORD or
 * ~/.pgpass every organization could make use.
 */
import type { ConnectionOptions } from 'node:tls';
import type { PostgresHost, TargetSessionAttributes } from '@mayfly/domain';
import pg from 'pg';
import { ProviderRejected } from '../../provider-error.ts';
import type { AdminConnection } from './admin-url.ts';
import { sessionSetup } from '../session-setup.ts';
import { throughPooler, UnwantedServer } from './connection-failure.ts';
import { guardParser } from './guarded-parser.ts';

export interface Attempt {
  readonly host: PostgresHost;
  readonly encryption: 'tls' | 'plain';
  readonly wanted: Exclude<TargetSessionAttributes, 'prefer-standby'>;
  /** How long it may take, in milliseconds. */
  readonly limitMs: number;
}

export interface AdminClientOptions {
  /** What is the same for every connection: time-outs, `application_name` where the URL names none. */
  readonly settings: pg.ClientConfig;
  readonly connection: AdminConnection;
  readonly tls: ConnectionOptions;
  readonly attempt: Attempt;
}

type Connected = (error: Error | null, client: pg.Client) => void;

export class AdminClient extends pg.Client {
  readonly #options: AdminClientOptions;
  /** `server_version` and others, which a server reports before it is ready (PostgreSQL documentation §54.2.7). */
  readonly #reported = new Set<string>();
  /** What the server offers to prove a password by; empty where it asks for the password itself, or for none. */
  #mechanisms: readonly string[] = [];

  constructor(options: AdminClientOptions) {
    super(configOf(options, () => this.#password()));
    this.#options = options;
    guardParser(this.connection);
    this.connection.on('parameterStatus', ({ parameterName }: { parameterName: string }) => {
      this.#reported.add(parameterName);
    });
    // Heard before the driver's own listener, which then asks for the password.
    this.connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => {
      this.#mechanisms = mechanisms;
    });
    // What goes wrong is told to whoever connects or asks; told here once more, it would end the process.
    this.on('error', () => undefined);
  }

  override connect(): Promise<pg.Client>;
  override connect(connected: Connected): void;
  override connect(connected?: Connected): Promise<pg.Client> | undefined {
    const opening = this.#open();
    if (connected === undefined) return opening.then(() => this);
    opening.then(
      () => connected(null, this),
      (error: Error) => connected(error, this),
    );
    return undefined;
  }

  async #open(): Promise<void> {
    const timeOut = setTimeout(
      () => this.connection.stream.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
      this.#options.attempt.limitMs,
    );
    try {
      await super.connect();
      await this.#check();
    } catch (error) {
      // The server may be waiting for an answer.
      this.connection.stream.destroy();
      throw error;
    } finally {
      clearTimeout(timeOut);
    }
  }

  /** Sets the session up before anything is asked of it, all in one round trip. Only for a new connection. */
  async #check(): Promise<void> {
    const { connection, settings, attempt } = this.#options;
    if (connection.channelBinding === 'require' && !this.#mechanisms.includes(channelBound)) throw notBound();
    // Whoever reports no version is no server that could be asked; the statements will tell.
    if (!this.#reported.has('server_version')) return void (await this.query(sessionSetup));
    const results: unknown = await this.query(`${sessionSetup};\n${askSession}`);
    const facts = (results as readonly pg.QueryResult<SessionFacts>[]).at(-1)?.rows[0];
    const { standby, read_only, statement_timeout } = facts ?? {};
    const { statement_timeout: asked = false } = settings;
    if (statement_timeout !== String(asked === false ? 0 : asked)) throw throughPooler();
    if (!willDo[attempt.wanted]({ isStandby: standby === true, isReadOnly: read_only !== 'off' }))
      throw new UnwantedServer(attempt.wanted);
  }

  /** Asked for when the server wants one. */
  #password(): string {
    const { connection } = this.#options;
    if (connection.channelBinding === 'require' && !this.#mechanisms.includes(channelBound)) throw notBound();
    if (connection.password === undefined)
      throw new ProviderRejected('the database asks for a password, and the admin URL holds none');
    return connection.password.reveal();
  }
}

const channelBound = 'SCRAM-SHA-256-PLUS';

function notBound(): ProviderRejected {
  return new ProviderRejected(
    'channel_binding=require of the admin URL asks for scram-sha-256 over TLS, which the database server does not offer',
  );
}

interface SessionFacts {
  readonly standby: boolean;
  readonly read_only: string;
  /** Milliseconds. */
  readonly statement_timeout: string;
}

/**
 * In names that nothing in a schema of the customer's can shadow. The time-out as a number, which `current_setting` does not tell and
 * `pg_settings` does; but that view anybody may lock.
 */
const askSession = `SELECT pg_catalog.pg_is_in_recovery() AS standby,
    pg_catalog.current_setting('transaction_read_only') AS read_only,
    (extract(epoch FROM pg_catalog.current_setting('statement_timeout')::pg_catalog.interval)
      OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8::pg_catalog.text AS statement_timeout`;

/** As libpq has it: a session is read-only also where a default makes it so. */
const willDo: Readonly<
  Record<Attempt['wanted'], (server: { isStandby: boolean; isReadOnly: boolean }) => boolean>
> = {
  any: () => true,
  'read-write': ({ isReadOnly }) => !isReadOnly,
  'read-only': ({ isReadOnly }) => isReadOnly,
  primary: ({ isStandby }) => !isStandby,
  standby: ({ isStandby }) => isStandby,
};

function configOf(
  { settings, connection, tls, attempt }: AdminClientOptions,
  password: () => string,
): pg.ClientConfig {
  return {
    ...settings,
    host: attempt.host.host,
    port: attempt.host.port,
    user: connection.user,
    database: connection.database,
    password,
    ssl: attempt.encryption === 'tls' ? tls : false,
    sslnegotiation: 'postgres',
    enableChannelBinding: connection.channelBinding === 'require',
    ...(connection.applicationName !== undefined && { application_name: connection.applicationName }),
  };
}
