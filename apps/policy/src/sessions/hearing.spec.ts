import { describe, expect, it } from '@jest/globals';
import { Hearing } from './hearing.ts';

/** Started at 0; a gap of more than 7 s is too long. Looked at every 2 s up to `until`. */
function hearingUntil(until: number): Hearing {
  const hearing = new Hearing(0, 7_000);
  for (let at = 0; at <= until; at += 2_000) hearing.works(at);
  return hearing;
}

describe('hearing', () => {
  it('counts from the start', () => {
    const hearing = hearingUntil(40_000);
    expect(hearing.secondsAt(40_000)).toBe(40);
    expect(hearing.secondsAt(47_000)).toBe(47);
  });

  it('counts anew after it was lost', () => {
    const hearing = hearingUntil(40_000);
    hearing.isLost(41_000);
    expect(hearing.secondsAt(41_000)).toBe(0);
    hearing.works(44_000);
    expect(hearing.secondsAt(44_000)).toBe(3);
  });

  it('counts anew after a pause of which nobody told, and counts nothing before that is noticed', () => {
    const hearing = hearingUntil(40_000);
    expect(hearing.secondsAt(47_001)).toBe(0);
    hearing.works(100_000);
    expect(hearing.secondsAt(100_000)).toBe(0);
    hearing.works(102_000);
    expect(hearing.secondsAt(102_000)).toBe(2);
  });
});
