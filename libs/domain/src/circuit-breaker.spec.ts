import { describe, expect, it } from '@jest/globals';
import { CircuitBreakers } from './circuit-breaker.ts';

describe('a circuit breaker', () => {
  const failing = (times: number, breakers: CircuitBreakers) => {
    for (let count = 0; count < times; count++) breakers.failed('db', 0);
  };

  it('opens after so many failures in a row, and for the upstream that failed alone', () => {
    const breakers = new CircuitBreakers({ failures: 3, openMs: 5_000 });
    failing(2, breakers);
    expect(breakers.mayTry('db', 1)).toBe(true);
    expect(breakers.failed('db', 0)).toBe(true);
    expect(breakers.failed('db', 0)).toBe(false);
    expect(breakers.mayTry('db', 1)).toBe(false);
    expect(breakers.mayTry('other', 1)).toBe(true);
    expect(breakers.open).toBe(1);
  });

  it('lets one attempt through each period, whatever became of the one before', () => {
    const breakers = new CircuitBreakers({ failures: 1, openMs: 5_000 });
    failing(1, breakers);
    expect(breakers.mayTry('db', 4_999)).toBe(false);
    expect(breakers.mayTry('db', 5_000)).toBe(true);
    expect(breakers.mayTry('db', 5_001)).toBe(false);
    expect(breakers.mayTry('db', 10_000)).toBe(true);
  });

  it('closes with the first success, and says whether there was anything to close', () => {
    const breakers = new CircuitBreakers({ failures: 1, openMs: 5_000 });
    expect(breakers.succeeded('db')).toBe(false);
    failing(1, breakers);
    expect(breakers.succeeded('db')).toBe(true);
    expect(breakers.mayTry('db', 1)).toBe(true);
    expect(breakers.open).toBe(0);
  });

  it('has one of those that wait try again soon', () => {
    const breakers = new CircuitBreakers({ failures: 3, openMs: 5_000 });
    failing(1, breakers);
    expect(breakers.becomeProbe('db', 0)).toBe(true);
    expect(breakers.becomeProbe('db', 4_999)).toBe(false);
    expect(breakers.becomeProbe('db', 5_000)).toBe(true);
  });

  it('tells for how long an upstream has failed, from the first failure to the first answer', () => {
    const breakers = new CircuitBreakers({ failures: 3, openMs: 5_000 });
    expect(breakers.failingForMs('db', 100)).toBe(0);
    breakers.failed('db', 100);
    breakers.failed('db', 200);
    expect(breakers.failingForMs('db', 1_100)).toBe(1_000);
    breakers.succeeded('db');
    expect(breakers.failingForMs('db', 1_200)).toBe(0);
  });

  it('remembers so many upstreams at most', () => {
    const breakers = new CircuitBreakers({ failures: 1, openMs: 5_000, mostKept: 2 });
    for (const upstream of ['a', 'b', 'c']) breakers.failed(upstream, 0);
    expect(['a', 'b', 'c'].map((upstream) => breakers.mayTry(upstream, 1))).toEqual([true, false, false]);
  });
});
