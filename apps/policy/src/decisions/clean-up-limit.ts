/**
 * How much of what earlier leases left upstream may fail to be removed before an orchestration gets no more there. It bounds what a
 * hostile agent can heap up, and costs nobody else anything: an orchestration is stopped at one integration, for its own leases.
 */
import { orchestrationOf } from '@mayfly/domain';
import type { Session } from '../sessions/session.ts';
import type { CleanUpLimit } from '../store/failing-clean-ups.ts';
import { deny, type Decision, type Denial } from './decide-request.ts';

type Allowed = Extract<Decision, { decision: 'allow' }>;

export function cleanUpLimitFor({ credential }: Allowed, session: Session, most: number): CleanUpLimit {
  return {
    orchestration: orchestrationOf(session.agentId),
    integration: credential.integration.name,
    most,
  };
}

/** The refusal at that limit. */
export function tooManyFailingCleanUps({ credential, policyIds }: Allowed, limit: CleanUpLimit): Denial {
  const { orchestration = '', integration, most } = limit;
  const leases = most === 1 ? '1 earlier lease' : `${most} earlier leases`;
  return deny(
    'limit_exceeded',
    `${leases} of this orchestration at ${integration} left things behind that could not be removed yet; no more are issued to it there until they are`,
    {
      credential,
      policyIds,
      why: `the clean-up of ${leases} or more of the orchestration ${orchestration} at ${integration} fails`,
    },
  );
}
