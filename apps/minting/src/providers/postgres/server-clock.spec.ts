import { describe, expect, it } from '@jest/globals';
import { isFresh, refuseAfter, serverInstant } from './server-clock.ts';

describe("a reading of a server's clock", () => {
  const reading = { serverMs: 1_000_000, readAt: 500 };

  it('tells what that clock will say, whatever the clock here says', () => {
    expect(serverInstant(reading, 20_000, 500)).toBe(1_020_000);
    expect(serverInstant(reading, 20_000, 3_500)).toBe(1_023_000);
  });

  it('is good for a minute, by the clock that nobody sets', () => {
    expect(isFresh(reading, 60_499)).toBe(true);
    expect(isFresh(reading, 60_500)).toBe(false);
  });

  it('becomes whole milliseconds, rounded to the earlier', () => {
    expect(refuseAfter(1_020_000.9)).toContain('> 1020000 THEN');
  });
});
