/**
 * Whether a session that one configuration admitted is still admitted by another: its authority ends with what it rests on. Pure.
 * What a session's row does not tell (its claims) is judged by the rule: a rule that admits all that it admitted goes on for its
 * sessions, any other does not. When in doubt a session ends; its holder attests anew.
 */
import type { PersonRole } from '@mayfly/contracts';
import type { Configuration, TrustAlgorithm, TrustRule } from '@mayfly/configuration';

/** Sessions that are alike in all that is judged. */
export interface SessionGround {
  /** Id. */
  readonly organization: string;
  readonly trustRule: string;
  readonly kind: 'agent' | 'person';
  readonly agentRole: string | undefined;
  readonly personRoles: readonly PersonRole[];
  readonly hasRecipientKey: boolean;
}

type Rules = Pick<Configuration, 'organizations' | 'trust'>;

/**
 * Why these sessions end with `after`, for auditors; undefined when they go on.
 * @param before What admitted them. Where that can't be read nobody can be judged.
 */
export function lostGround(ground: SessionGround, before: Rules, after: Rules): string | undefined {
  if (!after.organizations.has(ground.organization)) return 'its organization is gone from the configuration';
  const rule = ruleOf(ground, after);
  if (rule?.as !== ground.kind) return 'its trust rule is gone from the configuration';
  if (rule.requireRecipientKey && !ground.hasRecipientKey) return 'its trust rule asks for a recipient key';
  const earlier = ruleOf(ground, before);
  if (earlier === undefined || !admitsAllOf(rule, earlier)) {
    return 'its trust rule no longer admits all that it admitted';
  }
  return givesRoles(ground, rule, earlier) ? undefined : 'its trust rule no longer gives its role';
}

function ruleOf({ organization, trustRule }: SessionGround, { trust }: Rules): TrustRule | undefined {
  return trust.find((rule) => rule.organization === organization && rule.name === trustRule);
}

/** Every token that the earlier rule took, this one takes, and makes the same agent or person of it. */
function admitsAllOf(rule: TrustRule, earlier: TrustRule): boolean {
  const requiresNoMore = Object.entries(rule.require).every(([claim, values]) => {
    const before = earlier.require[claim];
    return before !== undefined && [before].flat().every((value) => [values].flat().includes(value));
  });
  return (
    rule.as === earlier.as &&
    rule.issuer === earlier.issuer &&
    rule.audience === earlier.audience &&
    isSame(rule.jwks, earlier.jwks) &&
    earlier.algorithms
      .map(algorithmOf)
      .every((algorithm) => rule.algorithms.map(algorithmOf).includes(algorithm)) &&
    requiresNoMore &&
    isSame(rule.user, earlier.user) &&
    (rule.as !== 'agent' || earlier.as !== 'agent' || isSame(rule.agent, earlier.agent))
  );
}

/** Two names of one algorithm, of which a rule that has either takes both (RFC 9864 §2.2). */
function algorithmOf(name: TrustAlgorithm): TrustAlgorithm {
  return name === 'Ed25519' ? 'EdDSA' : name;
}

function givesRoles(ground: SessionGround, rule: TrustRule, earlier: TrustRule): boolean {
  if (rule.as === 'agent') {
    if (ground.agentRole === undefined) return true;
    if (rule.role === undefined || earlier.as !== 'agent' || earlier.role === undefined) return false;
    if ('value' in rule.role) return rule.role.value === ground.agentRole;
    return (
      'claim' in earlier.role &&
      isSame(rule.role.claim, earlier.role.claim) &&
      rule.role.allowed.includes(ground.agentRole)
    );
  }
  if (ground.personRoles.length === 0) return true;
  const [now, then] = [rule.personRoles, earlier.as === 'person' ? earlier.personRoles : undefined];
  if (now === undefined || then === undefined || !isSame(now.claim, then.claim)) return false;
  // Which of several values gave a role is not known any more, so all that did must still give it.
  return Object.entries(then.values).every(
    ([value, role]) => !ground.personRoles.includes(role) || now.values[value] === role,
  );
}

/** The blocks compared are plain data, read by one schema, so their keys stand in one order. */
function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
