import { describe, expect, it } from '@jest/globals';
import { headers } from '@nats-io/transport-node';
import { timeAllowed } from './time-allowed.ts';

const now = 1_800_000_000_000;

function sent(deadline?: string, timeout?: string) {
  const made = headers();
  if (deadline !== undefined) made.set('mayfly-deadline', deadline);
  if (timeout !== undefined) made.set('mayfly-timeout', timeout);
  return made;
}

describe('timeAllowed', () => {
  it('is the operation timeout without headers', () => {
    expect(timeAllowed(undefined, 5_000, now)).toBe(5_000);
    expect(timeAllowed(headers(), 5_000, now)).toBe(5_000);
  });

  it('is what the caller has left, never more than the operation timeout', () => {
    expect(timeAllowed(sent(String(now + 1_200), '1200'), 5_000, now)).toBe(1_200);
    expect(timeAllowed(sent(String(now + 99_000), '99000'), 5_000, now)).toBe(5_000);
  });

  it.each([-30_000, -5_001, 0, 30_000])('is the same with a clock that is off by %i ms', (skew) => {
    expect(timeAllowed(sent(String(now + 5_000 + skew), '5000'), 5_000, now)).toBe(5_000);
  });

  it('is nothing when the deadline passed longer ago than clocks may differ', () => {
    expect(timeAllowed(sent(String(now - 30_001), '5000'), 5_000, now)).toBe(0);
  });

  it.each(['', 'soon', '-1', '1e9', '9'.repeat(40)])('takes no notice of a deadline of %p', (nonsense) => {
    expect(timeAllowed(sent(nonsense, nonsense), 5_000, now)).toBe(5_000);
  });
});
