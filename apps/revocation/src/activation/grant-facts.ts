/** What the register takes from a grant: policy's word, not minting's. */
import type { GrantClaims } from '@mayfly/contracts';
import type { LeaseFacts } from '../store/lease.ts';

export function factsOf(grant: GrantClaims, issuanceTraceparent: string): LeaseFacts {
  const { actor } = grant;
  return {
    leaseId: grant.jti,
    organization: actor.organization,
    sessionId: actor.session_id,
    ...(actor.parent_session_id !== undefined && { parentSessionId: actor.parent_session_id }),
    agentId: actor.agent_id,
    ...(actor.agent_role !== undefined && { agentRole: actor.agent_role }),
    ...(actor.user !== undefined && { user: actor.user }),
    ...(actor.task !== undefined && { task: actor.task }),
    ...(grant.claimed_task !== undefined && { claimedTask: grant.claimed_task }),
    credential: grant.credential,
    integration: grant.integration.name,
    provider: grant.provider,
    scope: grant.scope,
    ttlSeconds: grant.ttl_seconds,
    configVersion: grant.config_version,
    issuanceTraceparent,
  };
}

/** What events tell of a grant beside the lease's facts. */
export function grantDetails(grant: GrantClaims) {
  return {
    ...(grant.justification !== undefined && { justification: grant.justification }),
    source_ip: grant.source_ip,
    policy_ids: grant.policy_ids,
    ...(grant.predecessor !== undefined && {
      predecessor_id: grant.predecessor.lease_id,
      renewals: grant.predecessor.renewals,
    }),
  };
}
