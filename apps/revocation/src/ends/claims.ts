/**
 * The leases that this replica has in hand: their claims are short, so that those of a replica that died are soon
 * anyone's, and are prolonged while the work on them goes on.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackgroundLoop } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { renewClaims, type Claim } from '../store/due.ts';

export interface ClaimsOptions {
  readonly pool: Pool;
  readonly logger: Pick<Logger, 'error'>;
  /** How long a claim lasts, in milliseconds. */
  readonly claimMs: number;
}

/** A claim is not prolonged beyond this, so that work that never ends holds no lease for ever. Milliseconds. */
const longestHoldMs = 5 * 60_000;

export class Claims {
  /** Bounded by what may be claimed at once (`ProviderSlots`). */
  readonly #held = new Map<Promise<unknown>, { readonly claim: Claim; readonly since: number }>();
  readonly #renewing: BackgroundLoop;
  readonly #tickMs: number;

  constructor(private readonly options: ClaimsOptions) {
    // Two may be missed before a claim runs out.
    this.#tickMs = options.claimMs / 3;
    this.#renewing = new BackgroundLoop({
      name: 'claims',
      intervalMs: this.#tickMs,
      logger: options.logger,
      pass: async () => {
        await this.#renew();
        return undefined;
      },
    });
  }

  start(): void {
    this.#renewing.start();
  }

  /** Waits for the work in hand, at most `graceMs`; what is left is anyone's when its claim has run out. */
  async stop(graceMs: number): Promise<void> {
    await Promise.race([Promise.allSettled(this.#held.keys()), sleep(graceMs, undefined, { ref: false })]);
    await this.#renewing.stop();
  }

  /** Prolongs the lease's claim until `work` is done. */
  hold<T>({ leaseId, claims }: Claim, work: () => Promise<T>): Promise<T> {
    const working = work();
    const held = working.finally(() => this.#held.delete(held));
    this.#held.set(held, { claim: { leaseId, claims }, since: performance.now() });
    return held;
  }

  /** One statement for all; most work is done before its claim needs it. */
  async #renew(): Promise<void> {
    const now = performance.now();
    const old = [...this.#held.values()].filter(
      ({ since }) => now - since >= this.#tickMs / 2 && now - since < longestHoldMs,
    );
    if (old.length === 0) return;
    await renewClaims(
      this.options.pool,
      old.map(({ claim }) => claim),
      this.options.claimMs,
    );
  }
}
