import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { absoluteMaxTtlSeconds, decideTtl, type TtlDecision } from './ttl.ts';

const bounds = { defaultSeconds: 300, maxSeconds: 900 };

describe('decideTtl', () => {
  const cases: [string, Parameters<typeof decideTtl>, TtlDecision][] = [
    ['nothing asked: the default', [undefined, bounds, 3600], { outcome: 'granted', ttlSeconds: 300 }],
    ['less than the default', [1, bounds, 3600], { outcome: 'granted', ttlSeconds: 1 }],
    ['exactly the maximum', [900, bounds, 3600], { outcome: 'granted', ttlSeconds: 900 }],
    ['one second more than the maximum', [901, bounds, 3600], { outcome: 'exceeded', maxSeconds: 900 }],
    ['exactly to the end of the session', [300, bounds, 300], { outcome: 'granted', ttlSeconds: 300 }],
    [
      'cut at the end of the session, told',
      [300, bounds, 299.9],
      {
        outcome: 'granted',
        ttlSeconds: 299,
        adjusted: { requestedSeconds: 300, reason: 'the session ends before' },
      },
    ],
    ['a session with less than a second left', [1, bounds, 0.9], { outcome: 'exceeded', maxSeconds: 0 }],
    ['a session that is over', [undefined, bounds, -5], { outcome: 'exceeded', maxSeconds: 0 }],
    [
      'a maximum above the hour that holds for everything',
      [3601, { defaultSeconds: 300, maxSeconds: 86_400 }, 86_400],
      { outcome: 'exceeded', maxSeconds: 3600 },
    ],
    [
      'a default above its maximum',
      [undefined, { defaultSeconds: 600, maxSeconds: 60 }, 3600],
      { outcome: 'granted', ttlSeconds: 60 },
    ],
    ['a request that is no number', [Number.NaN, bounds, 3600], { outcome: 'exceeded', maxSeconds: 900 }],
    ['a session end that is no number', [300, bounds, Number.NaN], { outcome: 'exceeded', maxSeconds: 0 }],
  ];
  it.each(cases)('%s', (_name, parameters, expected) => {
    expect(decideTtl(...parameters)).toEqual(expected);
  });

  it('never grants more than what was asked, the maximum, the session or an hour', () => {
    const seconds = fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.constant(undefined));
    fc.assert(
      fc.property(
        seconds,
        fc.integer({ min: 1, max: 100_000 }),
        fc.integer({ min: 1, max: 100_000 }),
        fc.double({ min: -10, max: 100_000 }),
        (requested, defaultSeconds, maxSeconds, remaining) => {
          const decision = decideTtl(requested, { defaultSeconds, maxSeconds }, remaining);
          if (decision.outcome !== 'granted') return;
          expect(Number.isInteger(decision.ttlSeconds)).toBe(true);
          expect(decision.ttlSeconds).toBeGreaterThanOrEqual(1);
          expect(decision.ttlSeconds).toBeLessThanOrEqual(
            Math.min(requested ?? Infinity, maxSeconds, absoluteMaxTtlSeconds, remaining),
          );
        },
      ),
    );
  });
});
