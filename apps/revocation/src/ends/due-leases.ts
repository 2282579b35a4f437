/**
 * The due loop: claims what is due, hands it to the ender or the reconciler, and sleeps until the next lease is due.
 * It keeps no set of leases: what is in memory is what it has claimed and not finished, which is bounded.
 */
import { BackgroundLoop, failpoint } from '@mayfly/service';
import { traceIdOf, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { claimDueLeases, timeToNextDue } from '../store/due.ts';
import { isCleanUpLane, laneOf, type Lease } from '../store/lease.ts';
import type { Cleaner } from './cleaner.ts';
import type { Ender } from './ender.ts';
import type { Presence } from '../replicas/presence.ts';
import type { ProviderSlots } from './provider-slots.ts';
import type { Reconciler } from './reconciler.ts';
import { mintingProbeMs, type Upstreams } from './upstreams.ts';

export interface DueLeasesOptions {
  readonly pool: Pool;
  readonly slots: ProviderSlots;
  /** Of clean-ups after ends, so that they take no place of an end. */
  readonly cleanUpSlots: ProviderSlots;
  /** How much may run at once for one upstream. */
  readonly perIntegration: number;
  readonly ender: Pick<Ender, 'end'>;
  readonly reconciler: Pick<Reconciler, 'reconcile'>;
  readonly cleaner: Pick<Cleaner, 'cleanUp'>;
  readonly upstreams: Pick<Upstreams, 'isMintingAway' | 'waitingForMinting' | 'mayProbeMinting'>;
  readonly logger: Pick<Logger, 'error'>;
  /** Who claims. */
  readonly presence: Pick<Presence, 'replicaId' | 'doubt'>;
  readonly pollMs: number;
}

/** Shortest pause when something is due that this replica has no room for or lost to another. Milliseconds. */
const shortestPauseMs = 20;

/** How often it is looked for upstreams that the backlog of another hides, which is dearer. Milliseconds. */
const wideLookMs = 250;

export class DueLeases {
  readonly #loop: BackgroundLoop;
  /** Whether more was due than there was room for. */
  #behind = false;
  #lookedWideAt = -Infinity;

  constructor(private readonly options: DueLeasesOptions) {
    this.#loop = new BackgroundLoop({
      name: 'due leases',
      intervalMs: options.pollMs,
      logger: options.logger,
      pass: () => this.#pass(),
    });
  }

  start(): void {
    this.#loop.start();
  }

  /** Claims no more. What is in hand goes on (`Claims`). */
  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** Something has become due: look now. */
  nudge(): void {
    this.#loop.nudge();
  }

  async #pass(): Promise<number | undefined> {
    const { pool, slots, cleanUpSlots, upstreams, presence, pollMs } = this.options;
    this.#behind = true;
    const isWide = performance.now() - this.#lookedWideAt >= wideLookMs;
    if (isWide) this.#lookedWideAt = performance.now();
    const limit = Math.min(slots.free, 64);
    failpoint('revocation.claim.before');
    const leases = await claimDueLeases(pool, {
      replicaId: presence.replicaId,
      limit,
      perIntegration: slots.roomForNew,
      cleanUpsPerIntegration: cleanUpSlots.roomForNew,
      // One of each that waits for minting, because some have nothing due.
      room: this.#room(upstreams.isMintingAway && upstreams.mayProbeMinting() ? 1 : 0),
      isWide,
    }).catch((error: unknown) => {
      // It may have claimed some all the same.
      presence.doubt();
      throw error;
    });
    if (leases.length > 0) failpoint('revocation.claim.committed');
    for (const lease of leases) this.#take(lease);
    if (leases.length === limit) return 0;
    const full = [...this.#room(0)].filter(([, more]) => more === 0);
    const wait = await timeToNextDue(
      pool,
      full.map(([upstream]) => upstream),
    );
    this.#behind = full.length > 0;
    const pauseMs = wait === undefined ? pollMs : Math.max(wait, leases.length > 0 ? 0 : shortestPauseMs);
    return upstreams.isMintingAway ? Math.min(pauseMs, mintingProbeMs) : pauseMs;
  }

  /** How much more may be taken up, for the upstreams of which that is not as much as for a new one. */
  #room(mostWithoutMinting: 0 | 1): Map<string, number> {
    const { slots, cleanUpSlots, upstreams } = this.options;
    const room = new Map([...slots.room(), ...cleanUpSlots.room()]);
    for (const upstream of upstreams.waitingForMinting)
      room.set(upstream, Math.min(mostWithoutMinting, slots.roomFor(upstream)));
    return room;
  }

  #take(lease: Lease): void {
    const { presence, logger } = this.options;
    this.#work(lease)
      .then(
        () => undefined,
        (error: unknown) => {
          // The register could not be written. It is claimed again, by anyone.
          presence.doubt();
          logger.error(
            {
              err: error,
              trace_id: traceIdOf(lease.issuanceTraceparent),
              lease_id: lease.leaseId,
              integration: lease.integration,
            },
            'an end could not be recorded; it will be repeated',
          );
        },
      )
      .finally(() => {
        if (this.#behind && this.#wantsMore(laneOf(lease))) this.nudge();
      });
  }

  #work(lease: Lease): Promise<unknown> {
    const { ender, reconciler, cleaner } = this.options;
    if (lease.state === 'revoking' || lease.state === 'revocation_failed') return ender.end(lease);
    return lease.accessEndedAt === undefined ? reconciler.reconcile(lease) : cleaner.cleanUp(lease);
  }

  /** What waits for minting gets no more before the next look whether it is back. */
  #wantsMore(lane: string): boolean {
    const { slots, cleanUpSlots, perIntegration, upstreams } = this.options;
    if (isCleanUpLane(lane)) return cleanUpSlots.roomFor(lane) > 0;
    return slots.heldBy(lane) <= perIntegration && !upstreams.waitingForMinting.includes(lane);
  }
}
