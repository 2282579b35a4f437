/**
 * One connection that is held as long as leases live at a server, for their ends alone: the holders of leases may take every other
 * connection that the server has, and an end that cannot log in cannot end them. It is made again whenever it is lost.
 *
 * Where the server has none to give, it is tried for without a break, because others wait for the next one too. Once it is had,
 * whoever reconnects in a loop cannot take it away.
 *
 * It also holds a few locks (`lock-reserve.ts`) that it lets go when the server has none left to give. Any login may take all that a server has room for
 * (by advisory locks), and from then on no statement that needs another one succeeds, those that would end that login
 * among them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { withinDeadline, type Deadline } from '../deadline.ts';
import { ProviderRejected, ProviderUnavailable } from '../provider-error.ts';
import type { AdminConnections } from './connecting/admin-connections.ts';
import { prepareToCut } from './lock-hogs.ts';
import { takeReserve } from './lock-reserve.ts';
import { sqlStateOf, tooManyConnections } from './upstream-error.ts';

/** Between two attempts to make it, in milliseconds. It stays at the first while the server is there and full. */
const firstPauseMs = 100;
const longestPauseMs = 2_000;

/**
 * How long the server may take to answer what is run here beside the work itself, in milliseconds. Each of it takes a fraction. A
 * connection that stays silent for longer is given up, because whoever comes next waits for its turn there.
 */
const answerWithinMs = 3_000;

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
   * Runs `work` with the connection, after whoever has it now; undefined when there is none. Where locks are lacking, `makeRoom` is run
   * first, and lets the locks in reserve go. `work` keeps to the deadline by itself. Throws ProviderUnavailable when the deadline passes
   * before its turn, or the connection is lost.
   */
  use<T>(
    work: (client: pg.ClientBase) => Promise<T>,
    deadline: Deadline,
    makeRoom?: (client: pg.ClientBase) => Promise<void>,
  ): Promise<T> | undefined {
    if (this.#client === undefined) return undefined;
    const before = this.#turn;
    const mine = this.#inTurn(before, deadline, async (client) => {
      if (makeRoom !== undefined)
        await this.#answered(client, makeRoom(client), Math.min(answerWithinMs, deadline.remainingMs()));
      if (this.#client !== client) throw lost();
      return work(client);
    });
    // Whoever did not wait for its turn to the end leaves it to those after it as it was.
    this.#turn = Promise.allSettled([before, mine]).then(() => this.#restoreReserve());
    return mine;
  }

  async #inTurn<T>(
    before: Promise<unknown>,
    deadline: Deadline,
    run: (client: pg.ClientBase) => Promise<T>,
  ): Promise<T> {
    await withinDeadline(
      before,
      deadline,
      () => new ProviderUnavailable('the database is too slow or too busy'),
    );
    if (this.#client === undefined) throw lost();
    return run(this.#client);
  }

  /** As far as there are locks again. What was run may have let them go. */
  async #restoreReserve(): Promise<void> {
    const client = this.#client;
    if (client !== undefined) await this.#answered(client, client.query(takeReserve));
  }

  /** Waits for what the server is asked, whether it succeeds or not; gives the connection up when there is no answer in time. */
  async #answered(client: pg.ClientBase, asked: Promise<unknown>, withinMs = answerWithinMs): Promise<void> {
    const timer = setTimeout(() => this.replace(client), withinMs);
    await asked.catch(() => undefined);
    clearTimeout(timer);
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
        for (const text of [prepareToCut, takeReserve]) await this.#answered(client, client.query(text));
        // It was lost meanwhile: whoever lost it found the attempt still under way.
        if (this.#isLost(client)) continue;
        return;
      } catch (error) {
        // The server does not let it in. Whoever is let in next asks for it again.
        if (error instanceof ProviderRejected) return;
        if (sqlStateOf((error as Error).cause) === tooManyConnections) pauseMs = firstPauseMs;
        await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
  }

  #isLost(client: pg.PoolClient): boolean {
    return this.#client !== client;
  }

  #lose(client: pg.PoolClient): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    client.release(true);
    this.hold();
  }
}

function lost(): ProviderUnavailable {
  return new ProviderUnavailable('the connection kept for ends was lost');
}

function ignore(): void {
  // Told by its end.
}
