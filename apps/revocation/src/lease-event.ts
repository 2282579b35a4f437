/** Events of a lease: its facts as the register has them, in its own trace. */
import type { EventData, EventType, MayflyEvent, SignalType } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import { traceIdOf } from '@mayfly/telemetry';
import type { Lease, LeaseFacts } from './store/lease.ts';

export interface EventMore extends EventData {
  /** The request that caused it; without one the lease itself did, by its expiry. */
  readonly causeTraceparent?: string | undefined;
}

/** `trace_id` is the lease's for life, `event_trace_id` that of the causing request. */
export function leaseEvent(
  type: EventType | SignalType,
  lease: LeaseFacts & Partial<Lease>,
  { causeTraceparent, ...more }: EventMore = {},
): MayflyEvent {
  const traceId = traceIdOf(lease.issuanceTraceparent);
  const eventTraceId = causeTraceparent === undefined ? traceId : traceIdOf(causeTraceparent);
  return newEvent(
    'revocation',
    type,
    present({
      organization: lease.organization,
      lease_id: lease.leaseId,
      session_id: lease.sessionId,
      parent_session_id: lease.parentSessionId,
      agent_id: lease.agentId,
      agent_role: lease.agentRole,
      user: lease.user,
      task: lease.task,
      claimed_task: lease.claimedTask,
      credential: lease.credential,
      integration: lease.integration,
      provider: lease.provider,
      scope: lease.scope,
      ttl_seconds: lease.ttlSeconds,
      config_version: lease.configVersion,
      issued_at: lease.issuedAt?.toISOString(),
      expires_at: lease.expiresAt?.toISOString(),
      native_expires_at: lease.nativeExpiresAt?.toISOString(),
      revocability: lease.revocability,
      revocation_id: lease.revocationId,
      trace_id: traceId,
      event_trace_id: eventTraceId,
      ...more,
    }),
    { subject: lease.leaseId, traceparent: lease.issuanceTraceparent },
  );
}

/** Without the fields that do not apply. */
function present(data: { [Key in keyof EventData]: EventData[Key] | undefined }): EventData {
  return Object.fromEntries(Object.entries(data).filter(([, value]) => value !== undefined));
}
