/**
 * The bound on bodies that have been announced and are not there yet. It is counted in places of 64 KiB, so that it bounds the memory
 * that they can take. A body is never turned away for want of a place: the one that has been coming the longest is cut off for it,
 * which is one that never comes.
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

interface UnreadBody {
  readonly source: string;
  readonly places: number;
  readonly cutOff: () => void;
}

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

  /**
   * Counts a body of at most this many bytes until the function that comes back is called.
   * @param cutOff Ends the request, when its places are needed for others.
   */
  expect(source: string, bytes: number, cutOff: () => void): () => void {
    const places = Math.max(1, Math.ceil(bytes / bytesOfPlace));
    while (this.#heldBy(source) > 0 && this.#heldBy(source) + places > this.limits.mostOfSource) {
      this.#cutOldest(source, 'source_bodies');
    }
    while (this.#places > 0 && this.#places + places > this.limits.most) {
      this.#cutOldest(this.#largestSource(), 'bodies');
    }
    const body = { source, places, cutOff };
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

  #cutOldest(source: string, cause: ConnectionCut): void {
    // Sets keep the order of insertion.
    const oldest = this.#ofSource.get(source)?.bodies.values().next().value;
    if (oldest === undefined) return;
    this.onCut(cause);
    // At once: that its connection has been closed is heard of later.
    this.#release(oldest);
    oldest.cutOff();
  }

  #release(body: UnreadBody): void {
    const held = this.#ofSource.get(body.source);
    if (held?.bodies.delete(body) !== true) return;
    held.places -= body.places;
    this.#places -= body.places;
    if (held.bodies.size === 0) this.#ofSource.delete(body.source);
  }
}
