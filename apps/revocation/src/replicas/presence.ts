/**
 * That this replica lives, as the others see it, and whether they do. It keeps one connection to Postgres for its whole life, beats over
 * it, and removes those of whom the connection has gone or nothing has been heard for too long: at that instant their claims are void.
 *
 * Being taken for dead does no harm. Work in hand goes on; what another has claimed meanwhile counts under the number of that
 * claim alone. The replica joins again under a new id.
 */
import { randomUUID } from 'node:crypto';
import { BackgroundLoop } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import type { Pool, PoolClient } from 'pg';
import type { Claims } from '../ends/claims.ts';
import {
  answering,
  beat,
  joinReplicas,
  leaveReplicas,
  removeDeadReplicas,
  type KeptConnection,
} from '../store/replicas.ts';

export interface PresenceOptions {
  /** One of its connections is kept. */
  readonly pool: Pick<Pool, 'connect'>;
  readonly claims: Pick<Claims, 'inHand'>;
  /** How long nothing may be heard of a replica before it counts as dead. Milliseconds. */
  readonly silentMs: number;
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  /** Claims have become void: what was claimed is due again. */
  readonly onFreed: () => void;
}

/** So many beats of a replica get lost before it is taken for dead. */
const beatsOfSilence = 6;

/** A connection that has not answered a beat for so many times the silence is given up for another. */
const silencesOfWaiting = 2;

/** Shortest time between two joins for the sake of what may be claimed unknown to this replica. Milliseconds. */
const doubtPauseMs = 1_000;

/** Pause after a beat that failed: it may have been that connection alone. Milliseconds. */
const againMs = 100;

interface Kept {
  readonly client: PoolClient;
  readonly connection: KeptConnection;
  /** Whether the row of this replica names it. */
  isJoined: boolean;
}

export class Presence {
  readonly #beating: BackgroundLoop;
  #replicaId: string = randomUUID();
  #kept: Kept | undefined;
  #isDoubted = false;
  #joinedAt = -Infinity;
  #beatAt = -Infinity;
  #punctualSince = -Infinity;
  #isToldLost = false;

  constructor(private readonly options: PresenceOptions) {
    this.#beating = new BackgroundLoop({
      name: 'presence',
      intervalMs: options.silentMs / beatsOfSilence,
      logger: options.logger,
      pass: () => this.#pass(),
    });
  }

  /** Under which this replica claims at present. */
  get replicaId(): string {
    return this.#replicaId;
  }

  /** Whether it has joined, so far as it knows, over a connection that is there. */
  get isPresent(): boolean {
    return this.#kept?.isJoined === true;
  }

  /** Joins, and beats from now on. Resolves after the first attempt, also when it has failed. */
  async join(): Promise<void> {
    await this.#pass();
    this.start();
  }

  start(): void {
    this.#beating.start();
  }

  /** Leaves: what is still claimed is anyone's. Call it when the work in hand is done. */
  async stop(): Promise<void> {
    await this.#beating.stop();
    const kept = this.#kept;
    if (kept === undefined) return;
    // Without an answer it is seen to be dead, as its connection goes.
    await leaveReplicas(kept.connection, this.#replicaId).catch(() => undefined);
    this.#drop(kept);
  }

  /**
   * There may be a claim of this replica that it does not know of, because the answer was lost, or that it has given up, because its
   * outcome could not be written. It joins again soon, taking along what it has in hand, which makes the others void.
   */
  doubt(): void {
    this.#isDoubted = true;
  }

  /**
   * One beat; joins where that is needed. Rejects when Postgres can't be reached.
   * @param now Of a clock that runs evenly, in milliseconds.
   */
  async beat(now: number = performance.now()): Promise<void> {
    const kept = this.#kept ?? (await this.#connect());
    try {
      const isKnown = await this.#isKnown(kept, now);
      if (!isKnown) await this.#join(kept, now);
      // Later than at every other beat: this replica is slow itself, or Postgres is.
      if (now - this.#beatAt > this.options.silentMs / 3) this.#punctualSince = now;
      this.#beatAt = now;
      const isFreed = await this.#removeDead(kept, now);
      if (isFreed || !isKnown) this.options.onFreed();
    } catch (error) {
      this.#drop(kept);
      throw error;
    }
  }

  async #isKnown({ isJoined, connection }: Kept, now: number): Promise<boolean> {
    if (!isJoined) return false;
    if (this.#isDoubted && now - this.#joinedAt >= doubtPauseMs) return false;
    if (await beat(connection, this.#replicaId)) return true;
    this.options.logger.warn(
      { replica_id: this.#replicaId, silent_for_ms: Math.round(now - this.#beatAt) },
      'this replica was silent for so long that another took it for dead; it joins anew. What it has in hand goes on, and ' +
        'counts unless another has taken it over',
    );
    return false;
  }

  async #join(kept: Kept, now: number): Promise<void> {
    const replicaId = randomUUID();
    this.#isDoubted = false;
    // Takes its time where Postgres is slow: giving it up would only have it begin again.
    await joinReplicas(kept.client, {
      replicaId,
      previousId: this.#replicaId,
      inHand: this.options.claims.inHand,
    });
    this.#replicaId = replicaId;
    this.#joinedAt = now;
    kept.isJoined = true;
  }

  /**
   * Silence counts only when this replica has itself beaten in time for as long. Otherwise all would take each other for dead while
   * Postgres is slow, and take the leases out of each other's hands.
   */
  async #removeDead({ connection }: Kept, now: number): Promise<boolean> {
    const { logger, silentMs } = this.options;
    const isPunctual = now - this.#punctualSince >= silentMs;
    const dead = await removeDeadReplicas(connection, this.#replicaId, isPunctual ? silentMs : undefined);
    for (const { replicaId, isConnected, silentForMs } of dead) {
      logger.warn(
        { replica_id: replicaId, silent_for_ms: silentForMs, connection: isConnected ? 'there' : 'gone' },
        'another replica is dead; what it had claimed is taken over',
      );
    }
    return dead.length > 0;
  }

  async #connect(): Promise<Kept> {
    const client = await this.options.pool.connect();
    const connection = answering(client, silencesOfWaiting * this.options.silentMs);
    const kept: Kept = { client, connection, isJoined: false };
    // Without a listener the loss of it would end the process.
    client.on('error', (error) => {
      if (this.#kept !== kept) return;
      this.#drop(kept);
      this.#tellLost(error);
      this.#beating.nudge();
    });
    this.#kept = kept;
    return kept;
  }

  /** The connection goes and is not used again, so that Postgres sees at once that it is gone. */
  #drop(kept: Kept): void {
    if (this.#kept !== kept) return;
    this.#kept = undefined;
    kept.client.release(true);
  }

  async #pass(): Promise<number | undefined> {
    try {
      await this.beat();
      this.#isToldLost = false;
      return undefined;
    } catch (error) {
      this.#tellLost(error);
      return againMs;
    }
  }

  /** Once, not at every beat. */
  #tellLost(error: unknown): void {
    if (this.#isToldLost) return;
    this.#isToldLost = true;
    this.options.logger.warn(
      { err: error },
      'this replica has lost the connection that the others know it by; it joins anew as soon as it can',
    );
  }
}
