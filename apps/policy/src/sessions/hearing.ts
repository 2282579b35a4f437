/**
 * Since when this replica has been able to hear of sessions without interruption. Who goes unheard while nobody listens has
 * not fallen silent, so after an outage of Mayfly's own every session gets its whole time again. Pure: told the time, in
 * milliseconds of a clock that never goes back.
 */
export class Hearing {
  #since: number;
  #lastAt: number;

  /**
   * @param startedAt When it began to listen.
   * @param longestGapMs For how long at most nothing may be said of it: longer, and it was paused or stuck.
   */
  constructor(
    startedAt: number,
    private readonly longestGapMs: number,
  ) {
    this.#since = startedAt;
    this.#lastAt = startedAt;
  }

  /** At this moment it hears. */
  works(at: number): void {
    if (this.#isStale(at)) this.#since = at;
    this.#lastAt = at;
  }

  /** Until this moment it may have heard nothing. */
  isLost(at: number): void {
    this.#since = at;
    this.#lastAt = at;
  }

  /** For how long it has been hearing: none when that can't be said. */
  secondsAt(at: number): number {
    return this.#isStale(at) ? 0 : (at - this.#since) / 1000;
  }

  #isStale(at: number): boolean {
    return at - this.#lastAt > this.longestGapMs;
  }
}
