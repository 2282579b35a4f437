/** `trust:`, who may open a session and as whom. */
import { isIP } from 'node:net';
import type {
  AgentTrustRule,
  ClaimPath,
  ClaimSource,
  JwksSource,
  PersonTrustRule,
  RoleSource,
  TrustRule,
} from './configuration.ts';
import { AgentTrustBlock, PersonTrustBlock } from './document/blocks.ts';
import { showKey, type Path, type Problems } from './document/problems.ts';
import { asMap, parsePart } from './document/sentences.ts';
import type { PlainValue } from './document/yaml.ts';
import type { Organizations } from './organizations.ts';

const defaultSessionTtlSeconds = 3600;
const defaultIdentityAgeSeconds = 3600;
const defaultSessionsPerIdentity = 200;
const defaultAlgorithms = ['EdDSA', 'ES256', 'RS256'] as const;

export function readTrust(
  blocks: readonly PlainValue[],
  organizations: Organizations,
  problems: Problems,
): TrustRule[] {
  const rules: TrustRule[] = [];
  const names = new Set<string>();
  blocks.forEach((block, index) => {
    const path = ['trust', index];
    const rule = readRule(block, path, organizations, problems);
    if (!rule) return;
    const key = JSON.stringify([rule.organization, rule.name]);
    if (names.has(key)) {
      problems.add([...path, 'name'], `the trust rule "${rule.name}" stands twice; names must be unique`);
      return;
    }
    names.add(key);
    const rival = rules.find(
      (other) => other.organization !== rule.organization && mayAdmitTheSame(other, rule),
    );
    if (rival) {
      problems.add(
        path,
        `one token could match this rule and "${rival.name}" of another organization; tell them apart by audience, or by different values of one claim under "require"`,
      );
    }
    rules.push(rule);
  });
  return rules;
}

function readRule(
  block: PlainValue,
  path: Path,
  organizations: Organizations,
  problems: Problems,
): TrustRule | undefined {
  const as = asMap(block)?.['as'];
  if (as !== 'person' && as !== 'agent') {
    problems.add(
      asMap(block) ? [...path, 'as'] : path,
      'a trust rule must say what it admits: "as: agent" or "as: person"',
    );
    return undefined;
  }
  const parsed =
    as === 'person'
      ? parsePart(PersonTrustBlock, block, path, problems)
      : parsePart(AgentTrustBlock, block, path, problems);
  if (!parsed) return undefined;
  const organization = organizations.resolve(parsed.organization, path, problems);
  const jwks = readJwks(parsed.jwks);
  if (!jwks) {
    problems.add(
      [...path, 'jwks'],
      '"jwks" must be an https:// address, an http:// address of this machine, or file:/absolute/path',
    );
  }
  if (!organization || !jwks) return undefined;
  const base = {
    name: parsed.name,
    organization: organization.name,
    issuer: parsed.issuer,
    audience: parsed.audience,
    jwks,
    require: parsed.require ?? {},
    algorithms: parsed.algorithms ?? defaultAlgorithms,
    sessionTtlSeconds: parsed.session_ttl ?? defaultSessionTtlSeconds,
    maxIdentityAgeSeconds: parsed.max_identity_age ?? defaultIdentityAgeSeconds,
    maxSessionsPerIdentity: parsed.max_sessions_per_identity ?? defaultSessionsPerIdentity,
    requireRecipientKey: parsed.require_recipient_key ?? false,
  };
  if (parsed.as === 'person') {
    return {
      ...base,
      as: 'person',
      user: claimSource(parsed.user),
      ...(parsed.person_roles && { personRoles: parsed.person_roles }),
    } satisfies PersonTrustRule;
  }
  return {
    ...base,
    as: 'agent',
    agent: {
      orchestration: claimSource(parsed.agent.orchestration),
      task: claimSource(parsed.agent.task),
      instance: claimSource(parsed.agent.instance),
    },
    ...(parsed.role !== undefined && { role: roleSource(parsed.role) }),
    ...(parsed.user !== undefined && { user: claimSource(parsed.user) }),
  } satisfies AgentTrustRule;
}

function claimSource(written: string | { claim: ClaimPath }): ClaimSource {
  return typeof written === 'string' ? { value: written } : written;
}

function roleSource(written: string | { claim: ClaimPath; allowed: string[] }): RoleSource {
  return typeof written === 'string' ? { value: written } : written;
}

function readJwks(written: string): JwksSource | undefined {
  if (written.startsWith('file:')) {
    const file = written.slice('file:'.length);
    return /^\/[^/]/.test(file) ? { file } : undefined;
  }
  if (!URL.canParse(written)) return undefined;
  const url = new URL(written);
  if (url.username !== '' || url.password !== '') return undefined;
  if (url.protocol === 'https:') return { url: written };
  return url.protocol === 'http:' && isThisMachine(url.hostname) ? { url: written } : undefined;
}

function isThisMachine(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Whether nothing keeps a token from matching both: same issuer and audience, and no claim that both require differently. */
function mayAdmitTheSame(a: TrustRule, b: TrustRule): boolean {
  if (a.issuer !== b.issuer || a.audience !== b.audience) return false;
  return !Object.entries(a.require).some(([claim, values]) => {
    if (!Object.hasOwn(b.require, claim)) return false;
    const others = [b.require[claim] ?? []].flat();
    return ![values].flat().some((value) => others.includes(value));
  });
}

/** The roles that trust rules can give, by organization. */
export function rolesGiven(rules: readonly TrustRule[]): Map<string, Set<string>> {
  const given = new Map<string, Set<string>>();
  for (const rule of rules) {
    if (rule.as !== 'agent' || !rule.role) continue;
    const roles = given.get(rule.organization) ?? new Set();
    given.set(rule.organization, roles);
    for (const role of 'value' in rule.role ? [rule.role.value] : rule.role.allowed) roles.add(role);
  }
  return given;
}

/** What is wrong with a role that nobody can have. Without any rule that gives roles there is nothing to compare with. */
export function checkRole(role: string, given: ReadonlySet<string>): string | undefined {
  if (given.size === 0 || given.has(role)) return undefined;
  return `no trust rule gives the role ${showKey(role)}; add it to "allowed" of a rule, or use one of: ${[...given].slice(0, 16).join(', ')}`;
}
