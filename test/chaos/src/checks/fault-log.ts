/** When something stood in the way, and how late something was apart from that. */

/** Milliseconds since the epoch. */
export interface FaultWindow {
  readonly name: string;
  readonly start: number;
  /** Infinity while it lasts. */
  end: number;
}

/** How long after its expiry, or after the fault that stood in the way, a credential may still work. Milliseconds. */
export const graceMs = 5_000;

export class FaultLog {
  readonly #windows: FaultWindow[] = [];

  begin(name: string): FaultWindow {
    const window = { name, start: Date.now(), end: Infinity };
    this.#windows.push(window);
    return window;
  }

  end(window: FaultWindow): void {
    window.end = Date.now();
  }

  /** Of a fault that was given up on. */
  endOpen(): void {
    for (const window of this.#windows) if (window.end === Infinity) this.end(window);
  }

  /** Something that was noticed only when it was over. */
  add(window: FaultWindow): void {
    this.#windows.push(window);
  }

  windows(): readonly FaultWindow[] {
    return this.#windows;
  }

  isActive(): boolean {
    return this.#windows.some(({ end }) => end === Infinity);
  }

  /**
   * How much of the time between was nothing broken: how late something is that was due at `from` and happened at `to`, less
   * what stood in the way. Milliseconds; 0 when it was not late.
   */
  healthyBetween(from: number, to: number): number {
    let healthy = 0;
    let at = from;
    for (const { start, end } of this.#windows.toSorted((a, b) => a.start - b.start)) {
      if (end <= at) continue;
      if (start >= to) break;
      healthy += Math.max(0, start - at);
      at = end;
    }
    return healthy + Math.max(0, to - at);
  }
}
