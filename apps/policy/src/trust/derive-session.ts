/** Who a verified identity is, by the trust rule that admits it. Anything that does not fit gives no session. */
import { Name, User, type PersonRole } from '@mayfly/contracts';
import type { AgentTrustRule, PersonTrustRule, TrustRule } from '@mayfly/configuration';
import { agentId, personId } from '@mayfly/domain';
import type { Session } from '../sessions/session.ts';
import { claimAt, namePartOf, valueOf, type Claims } from './claims.ts';

export type AttestedIdentity = Omit<Session, 'id' | 'recipientKey' | 'expiresAt'>;

export type Derivation =
  | { readonly outcome: 'derived'; readonly identity: AttestedIdentity }
  /** `why` is for auditors: it names the rule. */
  | { readonly outcome: 'refused'; readonly why: string };

/** The organization of the rule. */
export interface Owner {
  readonly id: string;
  readonly trustDomain: string;
}

export function deriveSession(rule: TrustRule, organization: Owner, claims: Claims): Derivation {
  const derived =
    rule.as === 'agent' ? deriveAgent(rule, organization, claims) : derivePerson(rule, organization, claims);
  return typeof derived === 'string'
    ? { outcome: 'refused', why: `trust rule ${rule.name}: ${derived}` }
    : { outcome: 'derived', identity: derived };
}

/** The identity, or what is wrong with the claims. */
function deriveAgent(rule: AgentTrustRule, organization: Owner, claims: Claims): AttestedIdentity | string {
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
  const claimed = rule.user === undefined ? undefined : valueOf(claims, rule.user);
  const user = claimed === undefined ? undefined : userOf(claimed);
  if (claimed !== undefined && user === undefined) return 'the claim for the user is no name of a user';
  return {
    organization: organization.id,
    agentId: id,
    kind: 'agent',
    ...(role === undefined ? {} : { agentRole: role }),
    personRoles: [],
    ...(user === undefined ? {} : { user }),
    task,
  };
}

function derivePerson(rule: PersonTrustRule, organization: Owner, claims: Claims): AttestedIdentity | string {
  const user = userOf(valueOf(claims, rule.user));
  if (user === undefined) return 'the claim for the user is missing or no name of a user';
  const id = personId(organization.trustDomain, user);
  if (id === undefined) return 'the user cannot stand in a SPIFFE ID';
  return {
    organization: organization.id,
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

/** In the one form that a user has, or undefined for what is none. */
function userOf(value: unknown): string | undefined {
  return User.safeParse(value).data;
}
