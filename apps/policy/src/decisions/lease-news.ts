/** What a batch of events tells about leases. Pure. */
import { endingEventTypes, shortType, type MayflyEvent } from '@mayfly/contracts';
import type { LeaseNews } from '../store/reservations.ts';

const endings: readonly string[] = endingEventTypes;
/** Ends of leases whose secret was, or may have been, handed out. */
const released: readonly string[] = ['credential.expired', 'credential.revoked'];

/**
 * One entry per lease, in the order of lease ids, so that two replicas that store overlapping batches take their rows in
 * the same order. What neither issues nor ends a lease, such as a failed revocation, changes nothing: such a lease may
 * still work, so it still counts (I10).
 */
export function leaseNewsOf(events: readonly MayflyEvent[]): LeaseNews[] {
  const told = new Map<string, LeaseNews>();
  for (const event of events) {
    const leaseId = event.data.lease_id;
    if (leaseId === undefined) continue;
    const type = shortType(event);
    // What is renewed has been issued, whichever of the two events comes first.
    const renewed = type === 'credential.renewed';
    const rotated = renewed && event.data.successor_id !== undefined;
    const issued = type === 'credential.issued' || renewed;
    const ended = endings.includes(type);
    if (!issued && !ended) continue;
    const before = told.get(leaseId);
    // The renewals of a chain go on with its newest link, which was granted with its number.
    const renewals = Math.max(before?.renewals ?? 0, renewed && !rotated ? (event.data.renewals ?? 0) : 0);
    const endsAt = (rotated ? event.data.expires_at : undefined) ?? before?.endsAt;
    // What failed or was orphaned has released nothing, so nothing of it works.
    const worksOn = released.includes(type) && event.data.revocability?.kind === 'expiry_only';
    const worksUntil = (worksOn ? event.data.native_expires_at : undefined) ?? before?.worksUntil;
    told.set(leaseId, {
      leaseId,
      issued: issued || (before?.issued ?? false),
      ended: ended || (before?.ended ?? false),
      ...(renewals > 0 && { renewals }),
      ...(endsAt !== undefined && { endsAt }),
      ...(worksUntil !== undefined && { worksUntil }),
    });
  }
  return [...told.values()].sort((a, b) => (a.leaseId < b.leaseId ? -1 : 1));
}
