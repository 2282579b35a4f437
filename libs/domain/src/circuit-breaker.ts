/**
 * Circuit breakers, one for each upstream: after several failures in a row an upstream is left alone, but for one attempt
 * every few seconds that tells when it is back. Pure but for what it remembers, which is bounded: only upstreams that fail.
 */
export interface BreakerOptions {
  /** Failures in a row after which it opens. */
  readonly failures: number;
  /** How long an open one refuses, and how far apart its attempts are, in milliseconds. */
  readonly openMs: number;
  /** Most upstreams remembered; beyond that the one that failed longest ago is forgotten. */
  readonly mostKept?: number;
}

interface Failing {
  failures: number;
  /** Of the first of these failures. */
  readonly since: number;
  /** When the next attempt is let through, once it is open. */
  nextAttemptAt: number;
  /** Until when somebody is going to try. */
  probeUntil: number;
}

export class CircuitBreakers {
  /** Only those that have failed since their last success, in the order of their last failure. */
  readonly #failing = new Map<string, Failing>();

  constructor(private readonly options: BreakerOptions) {}

  /** How many refuse at present. */
  get open(): number {
    return [...this.#failing.values()].filter((one) => this.#isOpen(one)).length;
  }

  /**
   * Whether an attempt may be made. At an open breaker it is one each `openMs`, whatever became of the one before: so it never
   * refuses for longer than that, even if an attempt never ends.
   */
  mayTry(upstream: string, nowMs: number): boolean {
    const one = this.#failing.get(upstream);
    if (one === undefined || !this.#isOpen(one)) return true;
    if (nowMs < one.nextAttemptAt) return false;
    one.nextAttemptAt = nowMs + this.options.openMs;
    return true;
  }

  /** It answered, if only to refuse. Answers whether it had failed before. */
  succeeded(upstream: string): boolean {
    return this.#failing.delete(upstream);
  }

  /** It could not be reached. Answers whether this opened the breaker. */
  failed(upstream: string, nowMs: number): boolean {
    const one = this.#failing.get(upstream) ?? { failures: 0, since: nowMs, nextAttemptAt: 0, probeUntil: 0 };
    const wasOpen = this.#isOpen(one);
    one.failures++;
    this.#failing.delete(upstream);
    this.#failing.set(upstream, one);
    if (this.#isOpen(one) && !wasOpen) one.nextAttemptAt = nowMs + this.options.openMs;
    for (const oldest of this.#failing.keys()) {
      if (this.#failing.size <= (this.options.mostKept ?? 10_000)) break;
      this.#failing.delete(oldest);
    }
    return this.#isOpen(one) && !wasOpen;
  }

  /** Milliseconds since its first failure in a row; 0 when the last attempt got an answer. */
  failingForMs(upstream: string, nowMs: number): number {
    const one = this.#failing.get(upstream);
    return one === undefined ? 0 : nowMs - one.since;
  }

  /**
   * For what is retried: whether the caller is the one that tries again in `openMs`, for all that wait for this upstream. The
   * others may take their time.
   */
  becomeProbe(upstream: string, nowMs: number): boolean {
    const one = this.#failing.get(upstream);
    if (one === undefined || nowMs < one.probeUntil) return false;
    one.probeUntil = nowMs + this.options.openMs;
    return true;
  }

  #isOpen({ failures }: Failing): boolean {
    return failures >= this.options.failures;
  }
}
