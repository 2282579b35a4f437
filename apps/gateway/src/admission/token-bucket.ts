/**
 * Rate limits by token buckets, one per key. Memory is bounded: at most `maxKeys` are remembered, the longest unused go
 * first, and forgetting one only makes it full again.
 */
export interface BucketSettings {
  /** Tokens that come back per second. */
  readonly ratePerSecond: number;
  /** Tokens of a full bucket. */
  readonly burst: number;
  readonly maxKeys: number;
}

interface Bucket {
  tokens: number;
  updatedMs: number;
}

export class TokenBuckets {
  readonly #settings: BucketSettings;
  readonly #buckets = new Map<string, Bucket>();

  constructor(settings: BucketSettings) {
    this.#settings = settings;
  }

  /** Takes a token and says whether there was one. `nowMs` is any clock that only goes forward. */
  take(key: string, nowMs: number): boolean {
    const bucket = this.#refilled(key, nowMs);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** Whether there is a token, without taking it. */
  has(key: string, nowMs: number): boolean {
    return this.#refilled(key, nowMs).tokens >= 1;
  }

  #refilled(key: string, nowMs: number): Bucket {
    const { ratePerSecond, burst, maxKeys } = this.#settings;
    const known = this.#buckets.get(key);
    const bucket = known ?? { tokens: burst, updatedMs: nowMs };
    bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.updatedMs) / 1000) * ratePerSecond);
    bucket.updatedMs = nowMs;
    // Re-inserted, so that the map is ordered by last use.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (known === undefined && this.#buckets.size > maxKeys) {
      const oldest = this.#buckets.keys().next();
      if (oldest.done !== true) this.#buckets.delete(oldest.value);
    }
    return bucket;
  }
}
