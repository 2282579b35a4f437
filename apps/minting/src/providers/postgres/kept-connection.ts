/**
 * One connection that is held as long as leases live at a server, for their ends alone: the holders of leases may take every other
 * connection that the server has, and an end that cannot log in cannot end them. It is made again whenever it is lost.
 *
 * Where the server has none to give, it is tried for without a break, because others wait for the next one too. Once it is had,
 * whoever reconnects in a loop cannot take it away.
 *
 * It also holds a few locks that it lets go when the server has none left to give. Any login may take all that a server has room for
 * (by advisory locks), and from then on no statement that needs another one succeeds, those that would end that login
 * among them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { ProviderRejected } from '../provider-error.ts';
import type { AdminConnections } from './connecting/admin-connections.ts';
import { prepareToCut } from './lock-hogs.ts';
import { sqlStateOf, tooManyConnections } from './upstream-error.ts';

/** Between two attempts to make it, in milliseconds. It stays at the first while the server is there and full. */
const firstPauseMs = 100;
const longestPauseMs = 2_000;

/** More than the end of a lease takes; a server has room for 6,400 by default. By chance, so that nobody else has them. */
const takeReserve = `SELECT pg_catalog.pg_try_advisory_lock(
    (pg_catalog.random() * 9000000000000000000)::pg_catalog.int8) FROM pg_catalog.generate_series(1, 256)`;
export class KeptConnection {
  #client: pg.PoolClient | undefined;
  #connecting: Promise<void> | undefined;
  readonly #stop = new AbortController();
  /** Whoever uses it waits for the one before. */
  #turn: Promise<unknown> = Promise.resolve();

  /** @param connections Where it comes from: a pool of one, of which nobody else has any. */
  constructor(private readonly connections: Pick<AdminConnections, 'connect' | 'end'>) {}

  /** Makes the connection, in the background, unless it is there. */
  hold(): void {
    if (this.#client !== undefined || this.#stop.signal.aborted) return;
    this.#connecting ??= this.#keepTrying().finally(() => (this.#connecting = undefined));
  }

  get isHeld(): boolean {
    return this.#client !== undefined;
  }

  /**
   * Runs `work` with the connection, after whoever has it now; undefined when there is none. Where locks are lacking, `makeRoom` is a
   * statement that changes that. It is run first, and lets the locks go that are held back (the session's advisory locks).
   */
  use<T>(work: (client: pg.ClientBase) => Promise<T>, makeRoom?: string): Promise<T> | undefined {
    if (this.#client === undefined) return undefined;
    const mine = this.#turn.then(async () => {
      const client = this.#client;
      if (client === undefined) throw new Error('the connection kept for ends was lost');
      if (makeRoom !== undefined) await client.query(makeRoom).catch(() => undefined);
      return work(client);
    });
    this.#turn = mine
      .catch(() => undefined)
      // As far as there are locks again. What was run may have let them go, too.
      .then(() => this.#client?.query(takeReserve))
      .catch(() => undefined);
    return mine;
  }

  /** Gives a connection up whose state nobody knows, and makes another. */
  replace(client: pg.ClientBase): void {
    if (this.#client === client) this.#lose(this.#client);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#connecting?.catch(() => undefined);
    this.#client?.release(true);
    this.#client = undefined;
    await this.connections.end();
  }

  async #keepTrying(): Promise<void> {
    const { signal } = this.#stop;
    for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        const client = await this.connections.connect();
        if (signal.aborted) return client.release(true);
        this.#client = client;
        client.on('error', ignore);
        // The server, or somebody at it, has ended it.
        client.once('end', () => this.#lose(client));
        for (const text of [prepareToCut, takeReserve]) await client.query(text).catch(() => undefined);
        return;
      } catch (error) {
        // The server does not let it in. Whoever is let in next asks for it again.
        if (error instanceof ProviderRejected) return;
        if (sqlStateOf((error as Error).cause) === tooManyConnections) pauseMs = firstPauseMs;
        await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
  }

  #lose(client: pg.PoolClient): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.release(true);
    this.hold();
  }
}

function ignore(): void {
  // Told by its end.
}
