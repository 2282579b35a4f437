/** What a batch of events tells about clean-ups after ends. Pure. */
import { shortType, type MayflyEvent } from '@mayfly/contracts';
import { orchestrationOf } from '@mayfly/domain';
import type { CleanUpNews, FailingCleanUp } from '../store/failing-clean-ups.ts';

/**
 * Each lease once, in the order of lease ids, so that two replicas that store overlapping batches take their rows in the same order.
 * What is told to be done has not failed, whichever of the two events comes first. What an agent without an orchestration left,
 * which no trust rule makes, is nobody's.
 */
export function cleanUpNewsOf(events: readonly MayflyEvent[]): CleanUpNews {
  const failing = new Map<string, FailingCleanUp>();
  const cleanedUp = new Set<string>();
  for (const event of events) {
    const { lease_id: leaseId, organization, agent_id: agentId = '', integration } = event.data;
    if (leaseId === undefined) continue;
    const type = shortType(event);
    if (type === 'credential.cleaned_up') cleanedUp.add(leaseId);
    if (type !== 'credential.cleanup_failed') continue;
    const orchestration = orchestrationOf(agentId);
    if (orchestration === undefined || organization === undefined || integration === undefined) continue;
    failing.set(leaseId, { leaseId, organization, orchestration, integration });
  }
  return {
    failing: [...failing.values()]
      .filter(({ leaseId }) => !cleanedUp.has(leaseId))
      .sort((a, b) => (a.leaseId < b.leaseId ? -1 : 1)),
    cleanedUp: [...cleanedUp].sort(),
  };
}
