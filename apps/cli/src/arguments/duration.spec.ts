import { describe, expect, it } from '@jest/globals';
import { clockTime, durationText, relativeTime } from '../output/times.ts';
import { parseDuration, parseSince } from './duration.ts';

const now = new Date('2026-11-20T19:00:00Z');

describe('parseDuration', () => {
  it.each([
    ['90s', 90],
    ['15m', 900],
    ['1h', 3600],
    ['7d', 604_800],
  ])('%s is %d seconds', (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds);
  });

  it.each(['', '0s', '15', 'm', '-5m', '1.5h', '15 m', '1w', '1h30m', '9999999999s'])(
    'refuses %j',
    (text) => {
      expect(() => parseDuration(text)).toThrow('A duration looks like 90s, 15m or 1h.');
    },
  );
});

describe('parseSince', () => {
  it('takes how long ago, or when', () => {
    expect(parseSince('1h', now)).toBe('2026-11-20T18:00:00.000Z');
    expect(parseSince('2026-11-20T18:30:00+01:00', now)).toBe('2026-11-20T17:30:00.000Z');
    expect(parseSince('2026-11-19', now)).toBe('2026-11-19T00:00:00.000Z');
  });

  it.each(['yesterday', '2026-13-01', '5', '0s'])('refuses %j', (text) => {
    expect(() => parseSince(text, now)).toThrow();
  });
});

describe('times for people', () => {
  it('show the two largest units', () => {
    expect(relativeTime('2026-11-20T19:04:32Z', now)).toBe('in 4m 32s');
    expect(relativeTime('2026-11-20T15:54:59Z', now)).toBe('3h 5m ago');
    expect(relativeTime('2026-11-20T19:00:00.200Z', now)).toBe('now');
    expect(relativeTime(undefined, now)).toBe('-');
    expect(durationText(3600)).toBe('1h');
    expect(durationText(90_061)).toBe('1d 1h');
    expect(clockTime('2026-11-20T20:04:05.678+01:00')).toBe('2026-11-20 19:04:05Z');
  });
});
