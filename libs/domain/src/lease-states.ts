/** The states of a lease and their only moves, published as a table (design: "Words"). */
import type { LeaseState } from '@mayfly/contracts';

/** For each state, the states that a lease may move to from it. An empty list ends the lease. */
export const leaseMoves: Readonly<Record<LeaseState, readonly LeaseState[]>> = {
  intended: ['active', 'failed', 'orphaned'],
  active: ['revoking'],
  revoking: ['expired', 'revoked', 'revocation_failed'],
  revocation_failed: ['expired', 'revoked'],
  failed: [],
  orphaned: [],
  expired: [],
  revoked: [],
};

/** Whether a lease in state `from` may move to `to`. */
export function mayMove(from: LeaseState, to: LeaseState): boolean {
  return leaseMoves[from].includes(to);
}

/** States in which the credential may still work upstream: they count against limits (I10). */
export const liveStates = [
  'active',
  'revoking',
  'revocation_failed',
] as const satisfies readonly LeaseState[];

/** Whether a lease in this state can move no more. */
export function hasEnded(state: LeaseState): boolean {
  return leaseMoves[state].length === 0;
}
