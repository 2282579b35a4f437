/** A question as Cedar's request: who, what, with which circumstances, and the few entities that matter to it. */
import type { EntityJson, EntityUidJson, StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm/nodejs';
import { canonicalAddress } from '@mayfly/contracts';
import type { PolicyQuestion } from './evaluator.ts';

export function cedarRequest(
  question: PolicyQuestion,
): Omit<StatefulAuthorizationCall, 'preparsedPolicySetId'> {
  const { credential, context, organization } = question;
  const principal = { type: question.kind === 'person' ? 'Person' : 'Agent', id: question.agentId };
  const resource = { type: 'Credential', id: credential.name };
  const integration = { type: 'Integration', id: credential.integration.name };
  const owner = { type: 'Organization', id: organization };
  // People have no agent role: what is in Role::"x" is an agent.
  const roles: EntityUidJson[] =
    question.kind === 'agent' && question.agentRole !== undefined
      ? [{ type: 'Role', id: question.agentRole }]
      : [];
  const entities: EntityJson[] = [
    {
      uid: principal,
      attrs: {
        agent_id: question.agentId,
        ...(question.user !== undefined && { user: question.user }),
        ...(question.task !== undefined && { task: question.task }),
      },
      parents: [...roles, owner],
    },
    {
      uid: resource,
      attrs: { provider: credential.provider, writes: credential.writes },
      parents: [integration],
    },
    { uid: integration, attrs: { provider: credential.integration.provider }, parents: [owner] },
  ];
  return {
    principal,
    action: { type: 'Action', id: 'mint' },
    resource,
    context: {
      // In the form that a policy's `ip("…")` and the audit log have. What is no address makes Cedar fail, which denies.
      source_ip: { __extn: { fn: 'ip', arg: canonicalAddress(context.source_ip) ?? context.source_ip } },
      ttl_seconds: context.ttl_seconds,
      ...(context.claimed_task !== undefined && { claimed_task: context.claimed_task }),
      justification_given: context.justification_given,
      now_hour: context.now_hour ?? new Date().getUTCHours(),
    },
    entities,
  };
}
