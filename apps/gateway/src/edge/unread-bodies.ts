/**
 * The bound on bodies that have been announced and are not there yet. It is counted in places of 64 KiB, so that it bounds the memory
 * that they can take. A body is never turned away for want of a place: the one that comes the slowest is cut off for it, which is one that
 * never comes. Not the oldest: then a few headers that announce large bodies would cut off whoever is uploading from the same address.
 */
import type { ConnectionCut } from '@mayfly/telemetry';

export interface UnreadBodyLimits {
  /** Places altogether. */
  readonly most: number;
  /** Places of one source. */
  readonly mostOfSource: number;
}

/** Bytes of one place: the usual limit of a body. */
export const bytesOfPlace = 65_536;

/** A body that has been announced. */
export interface ExpectedBody {
  /** At most. */
  readonly bytes: number;
  /** Bytes of it that have come, or at least its connection's since it was announced. */
  readonly received: () => number;
  /** Ends the request, when its places are needed for others. */
  readonly cutOff: () => void;
}

interface UnreadBody extends ExpectedBody {
  readonly source: string;
  readonly places: number;
  /** Monotonic, in milliseconds. */
  readonly since: number;
}

/** At its beginning a body counts as if a place of it had come, and less and less so in this time: it needs some to show how fast it comes. Milliseconds. */
const graceMs = 1_000;

interface Held {
  places: number;
  readonly bodies: Set<UnreadBody>;
}

export class UnreadBodies {
  readonly #ofSource = new Map<string, Held>();
  #places = 0;

  constructor(
    private readonly limits: UnreadBodyLimits,
    /** Told of each body that is cut off for a bound. */
    private readonly onCut: (cause: ConnectionCut) => void,
  ) {}

  /** Places that are held now. */
  get places(): number {
    return this.#places;
  }

  /** Counts a body until the function that comes back is called. */
  expect(source: string, expected: ExpectedBody): () => void {
    const places = Math.max(1, Math.ceil(expected.bytes / bytesOfPlace));
    while (this.#heldBy(source) > 0 && this.#heldBy(source) + places > this.limits.mostOfSource) {
      this.#cutSlowest(source, 'source_bodies');
    }
    while (this.#places > 0 && this.#places + places > this.limits.most) {
      this.#cutSlowest(this.#largestSource(), 'bodies');
    }
    const body = { ...expected, source, places, since: performance.now() };
    const held = this.#ofSource.get(source) ?? { places: 0, bodies: new Set() };
    held.places += places;
    held.bodies.add(body);
    this.#ofSource.set(source, held);
    this.#places += places;
    return () => this.#release(body);
  }

  #heldBy(source: string): number {
    return this.#ofSource.get(source)?.places ?? 0;
  }

  #largestSource(): string {
    let largest = '';
    let most = 0;
    for (const [source, { places }] of this.#ofSource) if (places > most) [largest, most] = [source, places];
    return largest;
  }

  /** Of those that come equally slowly, the oldest. */
  #cutSlowest(source: string, cause: ConnectionCut): void {
    const now = performance.now();
    let slowest: UnreadBody | undefined;
    let lowest = Infinity;
    // Sets keep the order of insertion.
    for (const body of this.#ofSource.get(source)?.bodies ?? []) {
      const rate = rateOf(body, now);
      if (rate < lowest) [slowest, lowest] = [body, rate];
    }
    if (slowest === undefined) return;
    this.onCut(cause);
    // At once: that its connection has been closed is heard of later.
    this.#release(slowest);
    slowest.cutOff();
  }

  #release(body: UnreadBody): void {
    const held = this.#ofSource.get(body.source);
    if (held?.bodies.delete(body) !== true) return;
    held.places -= body.places;
    this.#places -= body.places;
    if (held.bodies.size === 0) this.#ofSource.delete(body.source);
  }
}

/** Bytes per millisecond. */
function rateOf({ received, since }: UnreadBody, now: number): number {
  const forMs = now - since;
  const credit = bytesOfPlace * Math.max(0, 1 - forMs / graceMs);
  return (received() + credit) / (forMs + graceMs);
}
