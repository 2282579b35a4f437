/** What everybody is told before a provider is called: if this process dies now, the lease is known and looked for. */
import { traceIdOf } from '@mayfly/telemetry';
import type { EventData, GrantClaims, MayflyEvent } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';

/** `credential.intended` of a grant. Its `traceparent` is the issuance span, the lease's for life. */
export function intendedEvent(grant: GrantClaims, traceparent: string): MayflyEvent {
  const { actor } = grant;
  const traceId = traceIdOf(traceparent);
  const data: EventData = {
    organization: actor.organization,
    lease_id: grant.jti,
    session_id: actor.session_id,
    agent_id: actor.agent_id,
    credential: grant.credential,
    integration: grant.integration.name,
    provider: grant.provider,
    scope: grant.scope,
    ttl_seconds: grant.ttl_seconds,
    source_ip: grant.source_ip,
    policy_ids: grant.policy_ids,
    config_version: grant.config_version,
    ...(grant.predecessor !== undefined && { predecessor_id: grant.predecessor.lease_id }),
    ...(actor.parent_session_id !== undefined && { parent_session_id: actor.parent_session_id }),
    ...(actor.agent_role !== undefined && { agent_role: actor.agent_role }),
    ...(actor.user !== undefined && { user: actor.user }),
    ...(actor.task !== undefined && { task: actor.task }),
    ...(grant.claimed_task !== undefined && { claimed_task: grant.claimed_task }),
    ...(grant.justification !== undefined && { justification: grant.justification }),
    ...(traceId !== undefined && { trace_id: traceId, event_trace_id: traceId }),
  };
  return newEvent('minting', 'credential.intended', data, { subject: grant.jti, traceparent });
}
