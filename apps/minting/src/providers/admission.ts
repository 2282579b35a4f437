/**
 * How many mints and renewals run at once at one integration, and run or wait at those of one organization. An upstream that hangs fills its
 * own places and queue, and all that an organization has leave room for the others in this process (`ServiceDefinition.maxConcurrent`).
 */
import { MayflyError } from '@mayfly/contracts';
import { Turns } from './turns.ts';

export interface AdmissionLimits {
  /** Mints at once at one integration. */
  readonly perIntegration: number;
  /** Mints that may wait for one of those. */
  readonly queue: number;
  /** Mints that run or wait at all integrations of one organization. */
  readonly perOrganization: number;
  /** Longest wait, in milliseconds: a grant lives 30 s. */
  readonly waitMs: number;
}

/** An integration of an organization. */
export interface Place {
  readonly organization: string;
  readonly integration: string;
}

export class Admission {
  /** Of integrations at which something runs. */
  readonly #turns = new Map<string, Turns>();
  /** What runs or waits, of organizations of which something does. */
  readonly #ofOrganization = new Map<string, number>();

  constructor(private readonly limits: AdmissionLimits) {}

  /**
   * Runs `work` when there is a place. Throws `provider_unavailable` when too many wait already, or for too long (`waitMs`,
   * or `timeLeftMs` if that is less): then `work` has not begun.
   */
  async run<T>(place: Place, timeLeftMs: number, work: () => Promise<T>): Promise<T> {
    const { organization } = place;
    const ofOrganization = this.#ofOrganization.get(organization) ?? 0;
    if (ofOrganization >= this.limits.perOrganization)
      throw new MayflyError(
        'provider_unavailable',
        'too many credentials are being minted for this organization',
      );
    this.#ofOrganization.set(organization, ofOrganization + 1);
    try {
      return await this.#atIntegration(`${organization}/${place.integration}`, timeLeftMs, work);
    } finally {
      const left = (this.#ofOrganization.get(organization) ?? 1) - 1;
      if (left === 0) this.#ofOrganization.delete(organization);
      else this.#ofOrganization.set(organization, left);
    }
  }

  async #atIntegration<T>(integration: string, timeLeftMs: number, work: () => Promise<T>): Promise<T> {
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
