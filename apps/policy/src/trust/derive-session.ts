/** Who a verified identity is, by the trust rule that admits it. Anything that does not fit gives no session. */
import { Name, text, type PersonRole } from '@mayfly/contracts';
import type { AgentTrustRule, OrganizationConfig, PersonTrustRule, TrustRule } from '@mayfly/configuration';
import { agentId, personId } from '@mayfly/domain';
import type { Session } from '../sessions/session.ts';
import { claimAt, namePartOf, valueOf, type Claims } from './claims.ts';

export type AttestedIdentity = Omit<Session, 'id' | 'recipientKey' | 'expiresAt'>;

export type Derivation =
  | { readonly outcome: 'derived'; readonly identity: AttestedIdentity }
  /** `why` is for auditors: it names the rule. */
  | { readonly outcome: 'refused'; readonly why: string };

export function deriveSession(
  rule: TrustRule,
  organization: Pick<OrganizationConfig, 'name' | 'trustDomain'>,
  claims: Claims,
): Derivation {
  const derived =
    rule.as === 'agent' ? deriveAgent(rule, organization, claims) : derivePerson(rule, organization, claims);
  return typeof derived === 'string'
    ? { outcome: 'refused', why: `trust rule ${rule.name}: ${derived}` }
    : { outcome: 'derived', identity: derived };
}

/** The identity, or what is wrong with the claims. */
function deriveAgent(
  rule: AgentTrustRule,
  organization: Pick<OrganizationConfig, 'name' | 'trustDomain'>,
  claims: Claims,
): AttestedIdentity | string {
  const orchestration = namePartOf(claims, rule.agent.orchestration);
  const task = namePartOf(claims, rule.agent.task);
  const instance = namePartOf(claims, rule.agent.instance);
  if (orchestration === undefined || task === undefined || instance === undefined) {
    return 'a claim for orchestration, task or instance is missing, or neither text nor an exact whole number';
  }
  const id = agentId(organization.trustDomain, { orchestration, task, instance });
  if (id === undefined) return 'orchestration, task or instance cannot stand in a SPIFFE ID';

  const role = roleOf(rule, claims);
  if (role !== undefined && typeof role !== 'string') return role.problem;
  const user = rule.user === undefined ? undefined : valueOf(claims, rule.user);
  if (user !== undefined && !isUser(user)) return 'the claim for the user is no short text';
  return {
    organization: organization.name,
    agentId: id,
    kind: 'agent',
    ...(role === undefined ? {} : { agentRole: role }),
    personRoles: [],
    ...(user === undefined ? {} : { user }),
    task,
  };
}

function derivePerson(
  rule: PersonTrustRule,
  organization: Pick<OrganizationConfig, 'name' | 'trustDomain'>,
  claims: Claims,
): AttestedIdentity | string {
  const user = valueOf(claims, rule.user);
  if (!isUser(user)) return 'the claim for the user is missing or no short text';
  const id = personId(organization.trustDomain, user);
  if (id === undefined) return 'the user cannot stand in a SPIFFE ID';
  return {
    organization: organization.name,
    agentId: id,
    kind: 'person',
    personRoles: personRolesOf(rule, claims),
    user,
  };
}

function roleOf({ role }: AgentTrustRule, claims: Claims): string | undefined | { problem: string } {
  if (role === undefined) return undefined;
  if ('value' in role) return role.value;
  const value = claimAt(claims, role.claim);
  if (typeof value !== 'string' || !role.allowed.includes(value) || !Name.safeParse(value).success) {
    return { problem: 'the claim for the role is missing or not one of the allowed' };
  }
  return value;
}

/** What a person's claim says beyond the roles that the rule names is of no matter. */
function personRolesOf({ personRoles }: PersonTrustRule, claims: Claims): PersonRole[] {
  if (personRoles === undefined) return [];
  const held: readonly unknown[] = [claimAt(claims, personRoles.claim)].flat();
  const roles = Object.entries(personRoles.values)
    .filter(([value]) => held.includes(value))
    .map(([, role]) => role);
  return [...new Set(roles)].sort();
}

const User = text(256);

function isUser(value: unknown): value is string {
  return User.safeParse(value).success;
}
