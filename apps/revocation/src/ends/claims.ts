/** The leases that this replica has in hand: claimed, and not finished. Their claims last as long as it lives (`Presence`). */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Claim } from '../store/replicas.ts';

export class Claims {
  /** Bounded by what may be claimed at once (`ProviderSlots`). */
  readonly #held = new Map<Promise<unknown>, Claim>();

  /** Those on whose leases it works at this moment. */
  get inHand(): readonly Claim[] {
    return [...this.#held.values()];
  }

  /** Counts the lease among those in hand until `work` is done. */
  hold<T>({ leaseId, claims }: Claim, work: () => Promise<T>): Promise<T> {
    const working = work();
    const held = working.finally(() => this.#held.delete(held));
    this.#held.set(held, { leaseId, claims });
    return held;
  }

  /** Waits for the work in hand, at most `graceMs`. */
  async finish(graceMs: number): Promise<void> {
    await Promise.race([Promise.allSettled(this.#held.keys()), sleep(graceMs, undefined, { ref: false })]);
  }
}
