import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decideRenewal, type RenewalDecision } from './renewal.ts';
import { absoluteMaxTtlSeconds } from './ttl.ts';

const bounds = { defaultSeconds: 300, maxSeconds: 900 };
const terms = { maxLifeSeconds: 3600, maxCount: 10, graceSeconds: 30 };
const start = new Date('2030-01-31T12:00:00Z');
const after = (seconds: number) => new Date(start.getTime() + seconds * 1000);
const lease = { startedAt: start, renewals: 0, ttlSeconds: 300 };

describe('decideRenewal', () => {
  type Case = [
    string,
    { requested?: number; renewals?: number; ttl?: number; now?: number; sessionEnd?: number },
    Partial<RenewalDecision>,
  ];
  const cases: Case[] = [
    [
      'nothing asked: as much again',
      { now: 200 },
      { outcome: 'granted', ttlSeconds: 300, expiresAt: after(500), limit: 'ttl' },
    ],
    [
      'nothing asked, and the longest TTL is shorter by now',
      { ttl: 1200 },
      { outcome: 'granted', ttlSeconds: 900 },
    ],
    ['exactly the longest TTL', { requested: 900 }, { outcome: 'granted', ttlSeconds: 900 }],
    ['a second more than the longest TTL', { requested: 901 }, { outcome: 'exceeded', maxSeconds: 900 }],
    [
      'cut at the maximum life, told',
      { requested: 900, now: 3000 },
      {
        outcome: 'granted',
        ttlSeconds: 600,
        limit: 'max_life',
        adjusted: { requestedSeconds: 900, reason: 'it reaches its maximum life before' },
      },
    ],
    [
      'cut at the end of the session, told',
      { requested: 900, now: 3000, sessionEnd: 3100.9 },
      {
        outcome: 'granted',
        ttlSeconds: 100,
        limit: 'session',
        adjusted: { requestedSeconds: 900, reason: 'the session ends before' },
      },
    ],
    ['exactly to the maximum life', { now: 3300 }, { outcome: 'granted', ttlSeconds: 300, limit: 'ttl' }],
    ['at its maximum life', { now: 3599.5 }, { outcome: 'at_end', limit: 'max_life' }],
    ['past its maximum life', { now: 9999, sessionEnd: 99_999 }, { outcome: 'at_end', limit: 'max_life' }],
    ['at the end of the session', { now: 100, sessionEnd: 100.5 }, { outcome: 'at_end', limit: 'session' }],
    ['the last renewal', { renewals: 9 }, { outcome: 'granted' }],
    ['one renewal too many', { renewals: 10 }, { outcome: 'too_often', maxCount: 10 }],
    ['a count that is no number', { renewals: Number.NaN }, { outcome: 'too_often' }],
    ['a request that is no number', { requested: Number.NaN }, { outcome: 'exceeded' }],
    ['a session end that is no number', { sessionEnd: Number.NaN }, { outcome: 'at_end' }],
  ];
  it.each(cases)(
    '%s',
    (_name, { requested, renewals = 0, ttl = 300, now = 0, sessionEnd = 3600 }, expected) => {
      expect(
        decideRenewal(
          requested,
          bounds,
          terms,
          { ...lease, renewals, ttlSeconds: ttl },
          after(sessionEnd),
          after(now),
        ),
      ).toMatchObject(expected);
    },
  );

  it('never grants past the maximum life, the count, the session, the longest TTL or what was asked', () => {
    const seconds = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(
        fc.record({
          requested: fc.option(seconds, { nil: undefined }),
          defaultSeconds: seconds,
          maxSeconds: seconds,
          maxLifeSeconds: seconds,
          maxCount: fc.integer({ min: 1, max: 20 }),
          renewals: fc.integer({ min: 0, max: 25 }),
          ttlSeconds: seconds,
          now: fc.double({ min: 0, max: 100_000, noNaN: true }),
          sessionEnd: fc.double({ min: -10, max: 100_000, noNaN: true }),
        }),
        (given) => {
          const now = after(given.now);
          const sessionEnd = after(given.sessionEnd);
          const decision = decideRenewal(
            given.requested,
            given,
            { ...given, graceSeconds: 0 },
            { ...given, startedAt: start },
            sessionEnd,
            now,
          );
          if (decision.outcome !== 'granted') return;
          const { ttlSeconds, expiresAt } = decision;
          expect(given.renewals).toBeLessThan(given.maxCount);
          expect(Number.isInteger(ttlSeconds) && ttlSeconds >= 1).toBe(true);
          expect(ttlSeconds).toBeLessThanOrEqual(
            Math.min(given.requested ?? given.ttlSeconds, given.maxSeconds, absoluteMaxTtlSeconds),
          );
          expect(expiresAt.getTime()).toBe(now.getTime() + ttlSeconds * 1000);
          expect(expiresAt.getTime()).toBeLessThanOrEqual(
            Math.min(sessionEnd.getTime(), after(given.maxLifeSeconds).getTime()),
          );
          const adjusted = ttlSeconds < (given.requested ?? Math.min(given.ttlSeconds, given.maxSeconds));
          expect(decision.adjusted !== undefined).toBe(adjusted);
        },
      ),
    );
  });
});
