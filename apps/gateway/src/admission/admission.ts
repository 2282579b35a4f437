/**
 * What is turned away before any work is done: too many requests at once, or from one source, or for one organization.
 *
 * A place is taken when a request is there with its whole body, so that nobody holds one by being slow. What ends something, and what
 * keeps a session alive, has places and rates of its own which nothing else can take. An organization's bucket is drained only by
 * calls whose token policy has verified, so a stranger who writes an organization's name into a token of his own stops nobody (I12).
 */
import { MayflyError } from '@mayfly/contracts';
import type { RefusalCause } from '@mayfly/telemetry';
import type { GatewaySettings } from '../settings.ts';
import { Places, type NoPlace } from './places.ts';
import { TokenBuckets } from './token-bucket.ts';

/**
 * `vital`: it ends something or keeps a session alive (`HttpBinding.vital`). `open`: it takes no session, so anybody may send it.
 * `open_vital`: both. `usual`: all else.
 */
export type RequestKind = 'vital' | 'usual' | 'open' | 'open_vital';

/** What the asker is told. */
export const refusalReasons: Record<RefusalCause, string> = {
  in_flight: 'too many requests at once',
  source_in_flight: 'too many requests at once from this address',
  source_rate: 'too many requests from this address',
  organization_in_flight: 'too many mints of the organization at once',
  organization_rate: 'the organization sends too many requests',
};

/** A source's buckets for vital requests and for all others; an organization's likewise. */
interface Buckets {
  readonly vital: TokenBuckets;
  readonly others: TokenBuckets;
}

const bucketsOf = (ratePerSecond: number, burst: number, maxKeys: number): Buckets => ({
  vital: new TokenBuckets({ ratePerSecond, burst, maxKeys }),
  others: new TokenBuckets({ ratePerSecond, burst, maxKeys }),
});

export class Admission {
  readonly #sources: Buckets;
  readonly #organizations: Buckets;
  /** Of every kind. One address may have half: the other half is for the others. */
  readonly #places: Places;
  /** Of `open` requests, beside a place of every kind: those who have no session keep none out who have one. */
  readonly #openPlaces: Places;
  /** Of `vital` requests, when there is no other. */
  readonly #vitalPlaces: Places;
  /** Of `open_vital` ones among those: half. */
  readonly #openVitalPlaces: Places;
  /** Of mints, beside a place of every kind: an organization whose upstreams are slow leaves half to the others. */
  readonly #mints: Places;
  #onRefusal: (cause: RefusalCause) => void = () => undefined;

  constructor(settings: GatewaySettings) {
    const { MAYFLY_MAX_IN_FLIGHT: most, MAYFLY_MAX_VITAL_IN_FLIGHT: mostVital } = settings;
    this.#sources = bucketsOf(settings.MAYFLY_SOURCE_RATE, settings.MAYFLY_SOURCE_BURST, 50_000);
    this.#organizations = bucketsOf(
      settings.MAYFLY_ORGANIZATION_RATE,
      settings.MAYFLY_ORGANIZATION_BURST,
      10_000,
    );
    this.#places = new Places({ most, mostOfSource: Math.ceil(most / 2) });
    this.#openPlaces = new Places({ most: Math.ceil(most / 2), mostOfSource: Math.ceil(most / 4) });
    this.#mints = new Places({ most, mostOfSource: Math.ceil(most / 2) });
    this.#vitalPlaces = new Places({ most: mostVital, mostOfSource: Math.ceil(mostVital / 2) });
    this.#openVitalPlaces = new Places({
      most: Math.ceil(mostVital / 2),
      mostOfSource: Math.ceil(mostVital / 4),
    });
  }

  /** @param told Called once for each request that is turned away. */
  onRefusal(told: (cause: RefusalCause) => void): void {
    this.#onRefusal = told;
  }

  /** Charges a source for a request, when its headers are there. The cause when the source sends too many. */
  chargeSource(source: string, kind: RequestKind): RefusalCause | undefined {
    const buckets = kind === 'vital' ? this.#sources.vital : this.#sources.others;
    return buckets.take(source, performance.now()) ? undefined : this.#refused('source_rate');
  }

  /** Takes a place for a request that is there as a whole. Gives the function that gives it back, or the cause when there is none. */
  enter(source: string, kind: RequestKind): (() => void) | RefusalCause {
    const isOpen = kind === 'open' || kind === 'open_vital';
    const isVital = kind === 'vital' || kind === 'open_vital';
    let place = takeAll(source, isOpen ? [this.#openPlaces, this.#places] : [this.#places]);
    if (typeof place === 'string' && isVital)
      place = takeAll(source, isOpen ? [this.#openVitalPlaces, this.#vitalPlaces] : [this.#vitalPlaces]);
    if (typeof place === 'function') return place;
    return this.#refused(place === 'full' ? 'in_flight' : 'source_in_flight');
  }

  /** Runs a call that policy verifies, and charges the organization of its token once it has been verified. */
  async charged<T>(token: string, kind: 'vital' | 'usual', call: () => Promise<T>): Promise<T> {
    const organization = claimedOrganization(token);
    if (organization === undefined) return call();
    const buckets = kind === 'vital' ? this.#organizations.vital : this.#organizations.others;
    if (!buckets.has(organization, performance.now())) {
      throw new MayflyError('rate_limited', refusalReasons[this.#refused('organization_rate')]);
    }
    try {
      const result = await call();
      buckets.take(organization, performance.now());
      return result;
    } catch (error) {
      const verified =
        error instanceof MayflyError &&
        error.code !== 'unauthenticated' &&
        error.code !== 'dependency_unavailable';
      if (verified) buckets.take(organization, performance.now());
      throw error;
    }
  }

  /**
   * Runs a mint that policy has allowed, and may take as long as an upstream does. Throws `rate_limited` when too many of its organization are
   * under way. `token` is one that policy has verified.
   */
  async minting<T>(token: string, mint: () => Promise<T>): Promise<T> {
    const leave = this.#mints.take(claimedOrganization(token) ?? '');
    if (typeof leave === 'string')
      throw new MayflyError('rate_limited', refusalReasons[this.#refused('organization_in_flight')]);
    try {
      return await mint();
    } finally {
      leave();
    }
  }

  #refused(cause: RefusalCause): RefusalCause {
    this.#onRefusal(cause);
    return cause;
  }
}

/** A place in each of these, or in none. */
function takeAll(source: string, all: readonly Places[]): (() => void) | NoPlace {
  const taken: (() => void)[] = [];
  const leave = () => {
    for (const giveBack of taken) giveBack();
  };
  for (const places of all) {
    const place = places.take(source);
    if (typeof place === 'string') {
      leave();
      return place;
    }
    taken.push(place);
  }
  return leave;
}

/** The organization that a token names, unverified: fit for choosing a bucket to look into, for nothing else. */
function claimedOrganization(token: string): string | undefined {
  const payload = token.split('.', 2)[1];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
    if (typeof claims !== 'object' || claims === null || !('organization' in claims)) return undefined;
    return typeof claims.organization === 'string' ? claims.organization.slice(0, 63) : undefined;
  } catch {
    return undefined;
  }
}
