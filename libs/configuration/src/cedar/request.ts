/** A question as Cedar's request: who, what, with which circumstances, and the few entities that matter to it. */
import type { EntityJson, EntityUidJson, StatefulAuthorizationCall } from '@cedar-policy/cedar-wasm/nodejs';
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
      source_ip: { __extn: { fn: 'ip', arg: plainAddress(context.source_ip) } },
      ttl_seconds: context.ttl_seconds,
      ...(context.claimed_task !== undefined && { claimed_task: context.claimed_task }),
      justification_given: context.justification_given,
      now_hour: context.now_hour ?? new Date().getUTCHours(),
    },
    entities,
  };
}

/** An IPv4 address that came as an IPv6 one (RFC 4291 §2.5.5.2) is the IPv4 address: a policy on its range must catch it. */
export function plainAddress(address: string): string {
  const mapped = /^(?:0{0,4}:){2,5}(?::)?ffff:(.+)$/i.exec(address)?.[1] ?? '';
  if (/^[0-9]+(?:\.[0-9]+){3}$/.test(mapped)) return mapped;
  const [high, low] = mapped.split(':').map((part) => Number.parseInt(part, 16));
  if (!/^[0-9a-f]{1,4}:[0-9a-f]{1,4}$/i.test(mapped) || high === undefined || low === undefined)
    return address;
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
