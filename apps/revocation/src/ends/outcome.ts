/** What an end means for a lease, told honestly. */
import type { EndOutcome, Revocability } from '@mayfly/contracts';

export interface EndedLease {
  readonly leaseId: string;
  readonly revocability: Revocability | undefined;
  readonly nativeExpiresAt: Date | undefined;
}

/** @param endedAt When the register says it ended; undefined while that is still being tried. */
export function endOutcome(lease: EndedLease, endedAt: Date | undefined): EndOutcome {
  const { leaseId: lease_id, revocability, nativeExpiresAt } = lease;
  // Nobody can end it early, so that the register has ended it says nothing of the upstream.
  if (revocability?.kind === 'expiry_only') {
    return {
      lease_id,
      outcome: 'expiry_only',
      ...(nativeExpiresAt !== undefined && { by: nativeExpiresAt.toISOString() }),
    };
  }
  if (endedAt === undefined) return { lease_id, outcome: 'ending' };
  if (revocability?.kind === 'eventual') {
    const by = new Date(endedAt.getTime() + revocability.within_seconds * 1000);
    return { lease_id, outcome: 'eventual', by: by.toISOString() };
  }
  return { lease_id, outcome: 'revoked' };
}
