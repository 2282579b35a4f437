/** The connections that an admin URL leads to, in a pool. A connection that the pool has is one to a server that will do. */
import pg from 'pg';
import { AdminClient, type Attempt } from './admin-client.ts';
import type { AdminConnection } from './admin-url.ts';
import type { TlsFiles } from './tls-files.ts';
import { tlsOptions } from './tls-options.ts';
import { tryInOrder } from './try-in-order.ts';

/** What is the same for every connection, and `connectionTimeoutMillis` for all tries of one together. */
export type AdminPoolSettings = pg.PoolConfig & { readonly connectionTimeoutMillis: number };

export class AdminConnections {
  readonly #pool: pg.Pool;
  readonly #connection: AdminConnection;
  readonly #settings: AdminPoolSettings;
  /** What a client that the pool makes tries. Set and read in one go, because a pool makes its client at once or not at all. */
  #next: Attempt | undefined;

  /** Throws ProviderRejected when the files that the URL names are of no use. */
  constructor(connection: AdminConnection, files: TlsFiles, settings: AdminPoolSettings) {
    this.#connection = connection;
    this.#settings = settings;
    const tls = tlsOptions(connection, files);
    const attemptNow = (): Attempt => {
      if (this.#next === undefined) throw new TypeError('a client that nobody asked for');
      return this.#next;
    };
    class Client extends AdminClient {
      constructor() {
        super({ settings, connection, tls, attempt: attemptNow() });
      }
    }
    this.#pool = new pg.Pool({ ...settings, Client });
    // An idle connection that the server ends: the pool has dropped it already.
    this.#pool.on('error', () => undefined);
  }

  /** One that is idle, or a new one. Throws ProviderRejected or ProviderUnavailable. */
  connect(): Promise<pg.PoolClient> {
    return tryInOrder({
      connection: this.#connection,
      limitMs: this.#settings.connectionTimeoutMillis,
      attempt: (attempt) => {
        this.#next = attempt;
        return this.#pool.connect();
      },
    });
  }

  async end(): Promise<void> {
    await this.#pool.end();
  }
}
