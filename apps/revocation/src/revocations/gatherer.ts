/**
 * The loop that carries accepted revocations out: gathers the leases of each, a batch per transaction, and notes when all
 * have ended. All it knows is in Postgres, so whatever one replica leaves half-done another continues.
 */
import { appendToOutbox } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import { BackgroundLoop, failpoint } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import {
  boundPauses,
  completeRevocation,
  gatherBatch,
  lookAgain,
  lookForOpenLease,
  pruneRevocations,
  takeDueRevocation,
} from '../store/revocations.ts';
import { revocationEvent } from './revocation-event.ts';

export interface GathererOptions {
  readonly pool: Pool;
  /** Publishes what has been committed. */
  readonly relay: Nudgeable;
  /** Ends what has been gathered. */
  readonly due: Nudgeable;
  readonly logger: Pick<Logger, 'error'>;
  /** Longest time between two looks for something to do. */
  readonly pollMs: number;
  /** How long a revocation that is done can be asked for. */
  readonly keepSeconds: number;
}

/** Most leases in one transaction: few enough that nobody waits long for one of them. */
export const batchSize = 1_000;

/** Most leases that one look passes that have ended. */
const mostLookedAt = 10_000;

const pruneEveryMs = 60_000;
/** Most leases that one statement forgets, and the pause when there are more, in milliseconds: nobody waits behind it. */
const mostPruned = 5_000;
const pruneAgainMs = 200;

export class RevocationGatherer {
  readonly #gathering: BackgroundLoop;
  readonly #pruning: BackgroundLoop;

  constructor(private readonly options: GathererOptions) {
    const { logger, pollMs } = options;
    this.#gathering = new BackgroundLoop({
      name: 'revocations',
      intervalMs: pollMs,
      logger,
      pass: async () => ((await this.step()) ? 0 : undefined),
    });
    this.#pruning = new BackgroundLoop({
      name: 'done revocations',
      intervalMs: pruneEveryMs,
      logger,
      pass: async () => ((await this.prune()) ? pruneAgainMs : undefined),
    });
  }

  start(): void {
    this.#gathering.start();
    this.#pruning.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#gathering.stop(), this.#pruning.stop()]);
  }

  /** A revocation has been accepted: begin now. */
  nudge(): void {
    this.#gathering.nudge();
  }

  /**
   * The next thing to do, in one transaction; false when there is nothing. Revocations take turns, batch by batch, those that
   * still have leases to move first. One whose step fails goes to the back, so that it holds up no other. Safe to repeat: a step
   * that was cut off has done nothing.
   */
  async step(): Promise<boolean> {
    const { pool, relay, due, logger, pollMs } = this.options;
    let taken: string | undefined;
    const step = await inTransaction(pool, async (client) => {
      await boundPauses(client);
      const revocation = await takeDueRevocation(client);
      if (revocation === undefined) return 'nothing';
      const { revocationId, isGathered, matched } = revocation;
      taken = revocationId;
      if (!isGathered) {
        const { moved } = await gatherBatch(client, revocationId, batchSize);
        failpoint('revocation.gather.before');
        return moved > 0 ? 'moved' : 'looked';
      }
      if ((await lookForOpenLease(client, revocationId, mostLookedAt, pollMs)) !== 'none') return 'looked';
      await completeRevocation(client, revocationId);
      await appendToOutbox(client, 'revocation', [
        revocationEvent('revocation.completed', revocation, { matched }),
      ]);
      return 'completed';
    }).catch(async (error: unknown) => {
      if (taken === undefined) throw error;
      await lookAgain(pool, taken, pollMs);
      logger.error({ err: error, revocation_id: taken }, 'a revocation could not go on; it is tried again');
      return 'failed';
    });
    if (step === 'moved') {
      failpoint('revocation.gather.committed');
      due.nudge();
    }
    if (step === 'completed') relay.nudge();
    return step !== 'nothing';
  }

  /** Forgets what was done long ago, some at a time; false when there is nothing. */
  prune(): Promise<boolean> {
    const { pool, keepSeconds } = this.options;
    return pruneRevocations(pool, keepSeconds, mostPruned);
  }
}
