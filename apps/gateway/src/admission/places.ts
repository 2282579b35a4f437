/** A number of things that may go on at the same time, of which one source may have only a part. */

export interface PlaceLimits {
  readonly most: number;
  readonly mostOfSource: number;
}

/** Why there is no place: all are taken, or the source has its part. */
export type NoPlace = 'full' | 'source_full';

export class Places {
  readonly #takenBy = new Map<string, number>();
  #taken = 0;

  constructor(private readonly limits: PlaceLimits) {}

  get taken(): number {
    return this.#taken;
  }

  /** Takes a place and gives the function that gives it back, to be called once; or says why there is none. */
  take(source: string): (() => void) | NoPlace {
    if (this.#taken >= this.limits.most) return 'full';
    const ofSource = this.#takenBy.get(source) ?? 0;
    if (ofSource >= this.limits.mostOfSource) return 'source_full';
    this.#takenBy.set(source, ofSource + 1);
    this.#taken++;
    return () => {
      this.#taken--;
      const left = (this.#takenBy.get(source) ?? 1) - 1;
      if (left === 0) this.#takenBy.delete(source);
      else this.#takenBy.set(source, left);
    };
  }
}
