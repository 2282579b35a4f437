/**
 * Turns at something of which there is only so much: connections, calls of an upstream. Who waits gets them in order of arrival,
 * but what ends something before what begins something. One turn is left to what begins, however much there is to end.
 */
export interface TurnLimits {
  /** Turns at once. */
  readonly most: number;
  /** How many may wait for one; default any number, each for its own time. */
  readonly mostWaiting?: number;
}

/** What is waiting, in order of arrival. */
type Waiting = Set<() => void>;

export class Turns {
  readonly #vital: Waiting = new Set();
  readonly #others: Waiting = new Set();
  #taken = 0;
  #takenByVital = 0;

  constructor(private readonly limits: TurnLimits) {}

  /** Nobody has a turn, and so nobody waits for one. */
  get isIdle(): boolean {
    return this.#taken === 0;
  }

  /** A turn, which its taker gives back by calling the answer once. Undefined when it would have to wait for longer than `waitMs`. */
  async take(waitMs: number, { isVital = false } = {}): Promise<(() => void) | undefined> {
    if (this.#taken < this.limits.most) this.#begin(isVital);
    else if (!(await this.#wait(waitMs, isVital))) return undefined;
    return () => {
      this.#giveBack(isVital);
    };
  }

  #begin(isVital: boolean): void {
    this.#taken++;
    if (isVital) this.#takenByVital++;
  }

  #giveBack(isVital: boolean): void {
    this.#taken--;
    if (isVital) this.#takenByVital--;
    const mayBeVital = this.#takenByVital < Math.max(1, this.limits.most - 1) || this.#others.size === 0;
    const [next] = mayBeVital && this.#vital.size > 0 ? this.#vital : this.#others;
    next?.();
  }

  #wait(waitMs: number, isVital: boolean): Promise<boolean> {
    const waiting = isVital ? this.#vital : this.#others;
    const isFull = this.#vital.size + this.#others.size >= (this.limits.mostWaiting ?? Infinity);
    if (isFull || waitMs <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const begin = () => {
        clearTimeout(timer);
        waiting.delete(begin);
        this.#begin(isVital);
        resolve(true);
      };
      const timer = setTimeout(() => {
        waiting.delete(begin);
        resolve(false);
      }, waitMs);
      waiting.add(begin);
    });
  }
}
