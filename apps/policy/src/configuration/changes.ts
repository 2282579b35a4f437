/** What a document changes, and for whom: one sentence for each thing that differs. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { longestChangeDetail, mostChangeDetails, type ConfigChange } from '@mayfly/contracts';
import type { Configuration, CredentialConfig, IntegrationConfig, TrustRule } from '@mayfly/configuration';
import { credentialFacts, integrationFacts, organizationFacts, trustFacts, type Facts } from './facts.ts';

/** A change before anybody has counted whom it concerns now. */
export type Change = Omit<ConfigChange, 'live_sessions' | 'live_leases'>;

/**
 * In the order of the document: organizations, trust rules, integrations, credentials, policies. Organizations are compared by what they
 * are known by, so one that takes over the name of another is added, and the other removed.
 */
export function changesBetween(before: Configuration | undefined, after: Configuration): Change[] {
  return [
    ...organizationChanges(before, after),
    ...trustChanges(before, after),
    ...integrationChanges(before, after),
    ...credentialChanges(before, after),
    ...policyChanges(before, after),
  ].filter(({ change, details }) => change !== 'changed' || details.length > 0);
}

function organizationChanges(before: Configuration | undefined, after: Configuration): Change[] {
  const was = [...(before?.organizations ?? [])];
  return compare(was, [...after.organizations], ([id]) => id).map((pair) => ({
    ...describe(pair, ([, organization]) => organizationFacts(organization)),
    kind: 'organization' as const,
    organization: pair.key,
    name: pair.key,
    concerns: `everybody in ${pair.key}`,
  }));
}

function trustChanges(before: Configuration | undefined, after: Configuration): Change[] {
  const key = (rule: TrustRule) => JSON.stringify([rule.organization, rule.name]);
  const pairs = compare(before?.trust ?? [], after.trust, key).map((pair) => {
    const rule = pair.newer;
    return {
      ...describe(pair, trustFacts),
      kind: 'trust_rule' as const,
      organization: rule.organization,
      name: rule.name,
      concerns: shortened(
        `${rule.as === 'person' ? 'people' : 'agents'} whom it admits (issuer ${rule.issuer})`,
        longestChangeDetail,
      ),
    };
  });
  // Of rules that fit, the first is taken: their order decides as well.
  const order = (configuration: Configuration | undefined, beside: Configuration | undefined) => {
    const known = new Set(beside?.trust.map(key));
    return configuration?.trust.map(key).filter((name) => known.has(name)) ?? [];
  };
  if (isDeepStrictEqual(order(before, after), order(after, before))) return pairs;
  return [
    ...pairs,
    {
      kind: 'trust_rule',
      change: 'changed',
      details: ['the order of the trust rules, of which the first that fits is taken'],
      concerns: 'whoever is admitted by one of several that fit',
    },
  ];
}

function integrationChanges(before: Configuration | undefined, after: Configuration): Change[] {
  const key = ({ organization, name }: IntegrationConfig) => JSON.stringify([organization, name]);
  return compare([...(before?.integrations ?? [])], [...after.integrations], key).map((pair) => {
    const { organization, name } = pair.newer;
    return {
      ...describe(pair, integrationFacts),
      kind: 'integration' as const,
      organization,
      name,
      concerns: 'whoever may have one of its credentials; live leases keep what they were minted with',
    };
  });
}

function credentialChanges(before: Configuration | undefined, after: Configuration): Change[] {
  const all = (configuration: Configuration | undefined) =>
    [...(configuration?.organizations.keys() ?? [])].flatMap((organization) =>
      [...(configuration?.credentialsOf(organization) ?? [])].map((credential) => ({
        organization,
        credential,
      })),
    );
  const key = ({ organization, credential }: { organization: string; credential: CredentialConfig }) =>
    JSON.stringify([organization, credential.name]);
  return compare(all(before), all(after), key).map((pair) => {
    const { organization, credential } = pair.newer;
    return {
      ...describe(pair, (one) => credentialFacts(one.credential)),
      kind: 'credential' as const,
      organization,
      name: credential.name,
      concerns: concernedByCredential(
        pair.before?.credential.roles ?? [],
        pair.after?.credential.roles ?? [],
      ),
    };
  });
}

function policyChanges(before: Configuration | undefined, after: Configuration): Change[] {
  const texts = (policies: readonly { text: string }[] | undefined) =>
    policies?.map(({ text }) => text) ?? [];
  const [byOwnerBefore, byOwnerAfter] = [policiesByOwner(before), policiesByOwner(after)];
  const owners = new Set([...byOwnerBefore.keys(), ...byOwnerAfter.keys()]);
  const sets: [string | undefined, string[], string[]][] = [
    [undefined, texts(before?.policies.general), texts(after.policies.general)],
    ...[...owners].map((owner): [string, string[], string[]] => [
      owner,
      texts(byOwnerBefore.get(owner)),
      texts(byOwnerAfter.get(owner)),
    ]),
  ];
  return sets.flatMap(([organization, was, is]): Change[] => {
    const [before, after] = [new Set(was), new Set(is)];
    const gone = was.filter((text) => !after.has(text));
    const come = is.filter((text) => !before.has(text));
    if (gone.length + come.length === 0) return [];
    const change = was.length === 0 ? 'added' : is.length === 0 ? 'removed' : 'changed';
    return [
      {
        ...(organization === undefined ? {} : { organization }),
        kind: 'policies',
        change,
        details: cut([
          ...gone.map((text) => `no longer: ${oneLine(text)}`),
          ...come.map((text) => `now: ${oneLine(text)}`),
        ]),
        concerns: organization === undefined ? 'every agent' : `every agent of ${organization}`,
      },
    ];
  });
}

/** Policies name their organization as the document does; everything else here, by what it is known by. */
function policiesByOwner(configuration: Configuration | undefined) {
  const policies = [...(configuration?.organizations ?? [])].map(
    ([id, { name }]) => [id, configuration?.policies.byOrganization.get(name) ?? []] as const,
  );
  return new Map(policies);
}

function concernedByCredential(before: readonly string[], after: readonly string[]): string {
  const gain = after.filter((role) => !before.includes(role));
  const lose = before.filter((role) => !after.includes(role));
  const keep = after.filter((role) => before.includes(role));
  const parts = [
    ...(gain.length > 0 ? [`${roles(gain)} may have it from now on`] : []),
    ...(lose.length > 0 ? [`${roles(lose)} may no longer have it by its list of roles`] : []),
    ...(keep.length > 0 ? [`${roles(keep)} may have it, as before`] : []),
  ];
  return (parts.join('; ') || 'whoever a policy permits it').slice(0, longestChangeDetail);
}

function roles(names: readonly string[]): string {
  return `role${names.length === 1 ? '' : 's'} ${names.join(', ')}`;
}

interface Pair<T> {
  readonly key: string;
  readonly before?: T;
  readonly after?: T;
  /** The one of them that is there; of two, the one of the new document. */
  readonly newer: T;
}

/** Those of both lists that are not the same, by key. */
function compare<T>(before: readonly T[], after: readonly T[], key: (one: T) => string): Pair<T>[] {
  const was = new Map(before.map((one) => [key(one), one]));
  const is = new Map(after.map((one) => [key(one), one]));
  const gone = before.filter((one) => !is.has(key(one)));
  return [
    ...gone.map((one) => ({ key: key(one), before: one, newer: one })),
    ...after.map((one) => {
      const old = was.get(key(one));
      return { key: key(one), ...(old === undefined ? {} : { before: old }), after: one, newer: one };
    }),
  ];
}

/** What of a thing differs: no details where nothing does. */
function describe<T>(
  { before, after }: Pair<T>,
  factsOf: (one: T) => Facts,
): Pick<Change, 'change' | 'details'> {
  if (before === undefined) return { change: 'added', details: [] };
  if (after === undefined) return { change: 'removed', details: [] };
  const [was, is] = [factsOf(before), factsOf(after)];
  const names = [...new Set([...Object.keys(was), ...Object.keys(is)])];
  return { change: 'changed', details: cut(names.flatMap((name) => differences(name, was[name], is[name]))) };
}

/** Down to what differs, so that long lists and maps don't hide it. */
function differences(name: string, was: unknown, is: unknown): string[] {
  if (isDeepStrictEqual(was, is)) return [];
  if (isMap(was) && isMap(is)) {
    const keys = [...new Set([...Object.keys(was), ...Object.keys(is)])];
    return keys.flatMap((key) => differences(`${name}.${key}`, was[key], is[key]));
  }
  if (!Array.isArray(was) || !Array.isArray(is)) return [`${name}: ${textOf(was)} → ${textOf(is)}`];
  const [old, now] = [was.map(textOf), is.map(textOf)];
  const gone = old.filter((text) => !now.includes(text));
  const come = now.filter((text) => !old.includes(text));
  const parts = [
    ...(gone.length > 0 ? [`no longer ${gone.join(', ')}`] : []),
    ...(come.length > 0 ? [`also ${come.join(', ')}`] : []),
  ];
  return [`${name}: ${parts.join('; ') || 'in another order'}`];
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function cut(details: readonly string[]): string[] {
  const named =
    details.length > mostChangeDetails ? [...details.slice(0, mostChangeDetails - 1), '…'] : details;
  return named.map((detail) => shortened(detail, longestChangeDetail));
}

function shortened(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function textOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return shortened(text, longestChangeDetail / 3);
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
