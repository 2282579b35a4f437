import { describe, expect, it } from '@jest/globals';
import { TokenBuckets } from './token-bucket.ts';

describe('token buckets', () => {
  const buckets = () => new TokenBuckets({ ratePerSecond: 10, burst: 3, maxKeys: 2 });

  it('lets a burst through and then nothing', () => {
    const limited = buckets();
    expect([1, 2, 3, 4].map(() => limited.take('a', 0))).toEqual([true, true, true, false]);
  });

  it('gives tokens back at its rate, and never more than the burst', () => {
    const limited = buckets();
    for (let i = 0; i < 3; i++) limited.take('a', 0);
    expect(limited.take('a', 99)).toBe(false);
    expect(limited.take('a', 100)).toBe(true);
    expect([1, 2, 3, 4].map(() => limited.take('a', 60_000))).toEqual([true, true, true, false]);
  });

  it('keeps the keys apart', () => {
    const limited = buckets();
    for (let i = 0; i < 3; i++) limited.take('a', 0);
    expect(limited.take('b', 0)).toBe(true);
  });

  it('looks without taking', () => {
    const limited = buckets();
    for (let i = 0; i < 9; i++) expect(limited.has('a', 0)).toBe(true);
  });

  it('forgets the key that was unused the longest, so that memory is bounded', () => {
    const limited = buckets();
    for (let i = 0; i < 3; i++) limited.take('a', 0);
    limited.take('b', 0);
    limited.take('c', 0);
    expect(limited.take('a', 0)).toBe(true);
  });
});
