/** Events of a revocation itself, in the trace of the request that asked for it. */
import { recoveryActor, type EventData, type MayflyEvent } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import { traceIdOf } from '@mayfly/telemetry';
import type { AcceptedRevocation } from '../store/revocations.ts';

/**
 * The organization is that of whoever asked, also for a revocation of everything: other organizations learn of it by the
 * ends of their own leases.
 */
export function revocationEvent(
  type: 'revocation.requested' | 'revocation.completed',
  revocation: Omit<AcceptedRevocation, 'forEver' | 'organization'>,
  more: { readonly matched?: number } = {},
): MayflyEvent {
  const { askedTraceparent: traceparent, subject } = revocation;
  const traceId = traceparent === undefined ? undefined : traceIdOf(traceparent);
  const data: EventData = {
    organization: revocation.askedOrganization,
    ...(revocation.askedSessionId !== undefined && { session_id: revocation.askedSessionId }),
    ...(revocation.askedBy !== recoveryActor && { agent_id: revocation.askedBy }),
    revocation_id: revocation.revocationId,
    reason: revocation.reason,
    action_context: {
      subject:
        subject.kind === 'everything' ? { kind: subject.kind } : { kind: subject.kind, id: subject.id },
      ...(revocation.askedBy === recoveryActor && { applied_by: recoveryActor }),
      ...more,
    },
    outcome: type === 'revocation.requested' ? 'accepted' : 'completed',
    ...(traceId !== undefined && { trace_id: traceId, event_trace_id: traceId }),
  };
  return newEvent('revocation', type, data, {
    subject: revocation.revocationId,
    ...(traceparent !== undefined && { traceparent }),
  });
}
