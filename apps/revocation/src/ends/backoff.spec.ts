import { describe, expect, it } from '@jest/globals';
import { retryWaitMs } from './backoff.ts';

const backoff = { firstMs: 1_000, longestMs: 300_000 };

describe('the wait before another attempt', () => {
  it('doubles from the first to the longest', () => {
    const waits = [1, 2, 3, 9, 10, 1_000].map((attempts) => retryWaitMs(attempts, backoff, () => 0));
    expect(waits).toEqual([1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
  });

  it('is cut by up to a half, at random', () => {
    expect(retryWaitMs(3, backoff, () => 0.999)).toBeCloseTo(2_000, -1);
  });
});
