import { describe, expect, it } from '@jest/globals';
import { leaseStates, type LeaseState } from '@mayfly/contracts';
import { hasEnded, leaseMoves, liveStates, mayMove } from './lease-states.ts';

/** Rows: from. Columns, in the order of `order`: to. `x` may move. The design's table, drawn. */
const order: LeaseState[] = [
  'intended',
  'active',
  'failed',
  'orphaned',
  'revoking',
  'revocation_failed',
  'expired',
  'revoked',
];
const table: Record<LeaseState, string> = {
  intended: '. x x x . . . .',
  active: '. . . . x . . .',
  failed: '. . . . . . . .',
  orphaned: '. . . . . . . .',
  revoking: '. . . . . x x x',
  revocation_failed: '. . . . . . x x',
  expired: '. . . . . . . .',
  revoked: '. . . . . . . .',
};

describe('lease states', () => {
  it('knows every state of the contracts', () => {
    expect(Object.keys(leaseMoves).toSorted()).toEqual([...leaseStates].toSorted());
    expect(order.toSorted()).toEqual([...leaseStates].toSorted());
  });

  const pairs = order.flatMap((from) =>
    order.map((to, column) => ({ from, to, allowed: table[from].split(' ')[column] === 'x' })),
  );
  it.each(pairs)('$from → $to: $allowed', ({ from, to, allowed }) => {
    expect(mayMove(from, to)).toBe(allowed);
  });

  it('ends exactly in failed, orphaned, expired and revoked', () => {
    expect(order.filter(hasEnded)).toEqual(['failed', 'orphaned', 'expired', 'revoked']);
  });

  it('never lets a lease that may still work upstream count as ended', () => {
    expect(liveStates.some(hasEnded)).toBe(false);
  });

  it('can reach an end from every state', () => {
    const canEnd = (state: LeaseState): boolean => hasEnded(state) || leaseMoves[state].some(canEnd);
    expect(order.every(canEnd)).toBe(true);
  });
});
