/**
 * How much work at providers runs at once: overall, and for each upstream account, and how much of it may begin per second,
 * so that a slow upstream fills its own share and leaves the rest to the others.
 *
 * However many upstreams hang, there is room for one that does not: an upstream gets no more places than are left free (what
 * switches call a dynamic threshold), but always one. So the bounds are exceeded by one for each upstream at most.
 */
export interface SlotLimits {
  readonly overall: number;
  readonly perIntegration: number;
  /** Most that begin within a second at one upstream, after a tenth of it at once. */
  readonly perSecond: number;
}

interface Waiting {
  readonly upstream: string;
  readonly start: () => void;
}

interface Bucket {
  tokens: number;
  at: number;
}

/** What may be taken at once although all places are held. */
const leastTaken = 8;

/** Buckets of upstreams without work are forgotten when there are more than this. */
const mostIdleBuckets = 1_000;

export class ProviderSlots {
  /** Held: running or waiting for a slot, by upstream. */
  readonly #held = new Map<string, number>();
  readonly #running = new Map<string, number>();
  readonly #buckets = new Map<string, Bucket>();
  readonly #waiting: Waiting[] = [];
  #runningOverall = 0;
  #heldOverall = 0;
  #timer: NodeJS.Timeout | undefined;
  /** For each upstream twice what may run, so that the next is here when one is done. */
  readonly #mostHeldEach: number;
  readonly #mostHeld: number;

  constructor(private readonly limits: SlotLimits) {
    this.#mostHeldEach = 2 * limits.perIntegration;
    this.#mostHeld = 4 * limits.overall;
  }

  get held(): number {
    return this.#heldOverall;
  }

  /** How much may be taken at once: for upstreams that have nothing here, always some. */
  get free(): number {
    return Math.max(leastTaken, this.#mostHeld - this.#heldOverall);
  }

  heldBy(upstream: string): number {
    return this.#held.get(upstream) ?? 0;
  }

  /** How much more an upstream may be given. */
  roomFor(upstream: string): number {
    const held = this.heldBy(upstream);
    if (held === 0) return this.roomForNew;
    const left = this.#mostHeld - this.#heldOverall;
    // Given all of it, it has no more than is left.
    return Math.max(0, Math.min(this.#mostHeldEach - held, Math.ceil((left - held) / 2)));
  }

  /** How much more each upstream that has work here may be given. */
  room(): Map<string, number> {
    return new Map([...this.#held.keys()].map((upstream) => [upstream, this.roomFor(upstream)]));
  }

  /** How much an upstream may be given that has no work here. */
  get roomForNew(): number {
    const left = this.#mostHeld - this.#heldOverall;
    return Math.max(1, Math.min(this.#mostHeldEach, Math.ceil(left / 2)));
  }

  /** Runs `work` when a slot is free, in the order of arrival within an upstream. */
  async run<T>(upstream: string, work: () => Promise<T>): Promise<T> {
    add(this.#held, upstream, 1);
    this.#heldOverall++;
    try {
      await this.#slot(upstream);
      try {
        return await work();
      } finally {
        add(this.#running, upstream, -1);
        this.#runningOverall--;
      }
    } finally {
      add(this.#held, upstream, -1);
      this.#heldOverall--;
      this.#startWaiting();
    }
  }

  #slot(upstream: string): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ upstream, start: resolve });
      this.#startWaiting();
    });
  }

  #startWaiting(): void {
    clearTimeout(this.#timer);
    /** Those that have one waiting already which may not start: the later ones wait behind it. */
    const stuck = new Set<string>();
    let soonest = Infinity;
    for (let index = 0; index < this.#waiting.length;) {
      const next = this.#waiting[index];
      if (next === undefined) break;
      const waitMs = stuck.has(next.upstream) ? Infinity : this.#waitMs(next.upstream);
      if (waitMs > 0) {
        stuck.add(next.upstream);
        soonest = Math.min(soonest, waitMs);
        index++;
        continue;
      }
      this.#waiting.splice(index, 1);
      this.#take(next.upstream);
      next.start();
    }
    if (soonest < Infinity) this.#timer = setTimeout(() => this.#startWaiting(), Math.ceil(soonest));
  }

  /** 0 when one more may start, Infinity when one that runs has to end first, otherwise milliseconds. */
  #waitMs(upstream: string): number {
    const running = this.#running.get(upstream) ?? 0;
    const free = this.limits.overall - this.#runningOverall;
    if (running > 0 && (running >= this.limits.perIntegration || running >= free)) return Infinity;
    const { tokens } = this.#bucket(upstream);
    return tokens >= 1 ? 0 : ((1 - tokens) / this.limits.perSecond) * 1_000;
  }

  #take(upstream: string): void {
    add(this.#running, upstream, 1);
    this.#runningOverall++;
    this.#bucket(upstream).tokens -= 1;
  }

  /** As full as it is by now. */
  #bucket(upstream: string): Bucket {
    const now = performance.now();
    const full = Math.max(1, this.limits.perSecond / 10);
    let bucket = this.#buckets.get(upstream);
    if (bucket === undefined) {
      bucket = { tokens: full, at: now };
      this.#buckets.set(upstream, bucket);
      this.#forgetIdle();
    }
    bucket.tokens = Math.min(full, bucket.tokens + ((now - bucket.at) / 1_000) * this.limits.perSecond);
    bucket.at = now;
    return bucket;
  }

  #forgetIdle(): void {
    for (const upstream of this.#buckets.keys()) {
      if (this.#buckets.size <= mostIdleBuckets) return;
      if (!this.#held.has(upstream)) this.#buckets.delete(upstream);
    }
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
