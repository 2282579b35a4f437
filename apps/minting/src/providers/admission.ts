/**
 * How many mints and renewals run at once at one integration. An upstream that hangs fills its own places and queue; it doesn't
 * take those of others, nor this process.
 */
import { MayflyError } from '@mayfly/contracts';
import { Turns } from './turns.ts';

export interface AdmissionLimits {
  /** Mints at once at one integration. */
  readonly perIntegration: number;
  /** Mints that may wait for one of those. */
  readonly queue: number;
  /** Longest wait, in milliseconds: a grant lives 30 s. */
  readonly waitMs: number;
}

export class Admission {
  /** Of integrations at which something runs. */
  readonly #turns = new Map<string, Turns>();

  constructor(private readonly limits: AdmissionLimits) {}

  /**
   * Runs `work` when there is a place. Throws `provider_unavailable` when too many wait already, or for too long (`waitMs`,
   * or `timeLeftMs` if that is less): then `work` has not begun.
   */
  async run<T>(integration: string, timeLeftMs: number, work: () => Promise<T>): Promise<T> {
    const { perIntegration, queue, waitMs } = this.limits;
    const turns = this.#turns.get(integration) ?? new Turns({ most: perIntegration, mostWaiting: queue });
    this.#turns.set(integration, turns);
    const giveBack = await turns.take(Math.min(waitMs, timeLeftMs));
    if (giveBack === undefined)
      throw new MayflyError(
        'provider_unavailable',
        'too many credentials are being minted at this integration',
      );
    try {
      return await work();
    } finally {
      giveBack();
      if (turns.isIdle) this.#turns.delete(integration);
    }
  }
}
