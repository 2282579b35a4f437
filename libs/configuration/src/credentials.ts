/** `integrations:` and `credentials:`. Provider settings and scopes are checked by the provider's own schemas. */
import type { JsonObject } from '@mayfly/contracts';
import {
  absoluteMaxTtlSeconds,
  defaultTtlSeconds,
  mayUseReference,
  providerDefinitions,
  renewalDefaults,
  type AnyProviderDefinition,
  type RenewalTerms,
  type TtlBounds,
} from '@mayfly/domain';
import type { z } from 'zod';
import { Audiences } from './audiences.ts';
import type { CredentialConfig, IntegrationConfig, OrganizationConfig, TrustRule } from './configuration.ts';
import { CredentialBlock, IntegrationBlock, noLimit } from './document/blocks.ts';
import { showKey, type Path, type Problems } from './document/problems.ts';
import { asMap, keysOf, parsePart, unknownKey } from './document/sentences.ts';
import { didYouMean } from './document/suggest.ts';
import type { PlainValue } from './document/yaml.ts';
import type { Organizations } from './organizations.ts';
import { checkSecrets, whereIs, type SecretAt } from './secrets.ts';
import { checkRole } from './trust.ts';

/** By organization, then by name. */
export type ByOrganization<T> = ReadonlyMap<string, ReadonlyMap<string, T>>;

export interface Integrations {
  readonly all: ByOrganization<IntegrationConfig>;
  /** Names written in the document, also of blocks that have problems of their own: what names them is not dangling. */
  readonly written: ReadonlySet<string>;
  /** `<organization>/<name>` of those that an earlier release took and this one leaves out, with their credentials. */
  readonly leftOut: ReadonlySet<string>;
}

/** Reads one after the other; a name is taken once per organization. */
class Register<T extends { readonly organization: string; readonly name: string }> {
  readonly all = new Map<string, Map<string, T>>();

  add(item: T): boolean {
    const names = this.all.get(item.organization) ?? new Map<string, T>();
    this.all.set(item.organization, names);
    if (names.has(item.name)) return false;
    names.set(item.name, item);
    return true;
  }
}

/** `leftOut`, for a document that an earlier release applied, takes what nothing is minted with any longer; otherwise that is a problem. */
export function readIntegrations(
  blocks: readonly PlainValue[],
  organizations: Organizations,
  trust: readonly TrustRule[],
  secretAt: SecretAt,
  problems: Problems,
  leftOut?: Problems,
): Integrations {
  const register = new Register<IntegrationConfig>();
  const written = new Set<string>();
  const audiences = new Audiences(trust);
  const left = new Set<string>();
  blocks.forEach((block, index) => {
    const path = ['integrations', index];
    const name = asMap(block)?.['name'];
    if (typeof name === 'string') written.add(name);
    const definition = definitionOf(asMap(block)?.['provider'], [...path, 'provider'], problems);
    const { own, rest } = split(block, IntegrationBlock);
    const parsed = parsePart(IntegrationBlock, own, path, problems);
    const settings =
      definition && readRest(definition.integrationSettings, rest, IntegrationBlock, path, problems);
    if (!parsed || !definition || !settings) return;
    const organization = organizations.resolve(parsed.organization, path, problems);
    if (!organization) return;
    const wrong = definition.settingsProblem(settings);
    if (wrong !== undefined)
      (leftOut ?? problems).add([...path, wrong.key], `"${wrong.key}" ${wrong.problem}`);
    checkReferences(definition, settings, organization, path, problems);
    checkSecrets(definition, settings, secretAt, path, problems);
    const { audience } = settings;
    if (typeof audience === 'string') {
      const problem = audiences.problemOf(audience);
      if (problem !== undefined) problems.add([...path, 'audience'], problem);
      const taken = audiences.take(audience, organization.name);
      if (taken !== undefined) (leftOut ?? problems).add([...path, 'audience'], taken);
      // What an earlier release let two organizations share is the first one's.
      if (taken !== undefined && leftOut) {
        left.add(`${organization.name}/${parsed.name}`);
        return;
      }
    }
    const integration = {
      organization: organization.name,
      name: parsed.name,
      provider: definition.name,
      settings,
    };
    if (!register.add(integration)) {
      problems.add(
        [...path, 'name'],
        `the integration "${parsed.name}" stands twice in the organization "${organization.name}"; names must be unique`,
      );
    }
  });
  return { all: register.all, written, leftOut: left };
}

/** `leftOut`, for a document that an earlier release applied, takes what this one gives no longer; otherwise that is a problem. */
export function readCredentials(
  blocks: readonly PlainValue[],
  organizations: Organizations,
  integrations: Integrations,
  roles: ReadonlyMap<string, ReadonlySet<string>>,
  problems: Problems,
  leftOut?: Problems,
): ByOrganization<CredentialConfig> {
  const register = new Register<CredentialConfig>();
  blocks.forEach((block, index) => {
    const path = ['credentials', index];
    const { own, rest } = split(block, CredentialBlock);
    const parsed = parsePart(CredentialBlock, own, path, problems);
    if (!parsed) {
      reportUnknownKeys(rest, [...keysOf(CredentialBlock), ...everyCredentialKey], path, problems);
      return;
    }
    const organization = organizations.resolve(parsed.organization, path, problems);
    if (!organization) return;
    const integration = integrationOf(parsed.name, organization, integrations, path, problems);
    const definition = integration && providerDefinitions.get(integration.provider);
    if (!integration || !definition) {
      reportUnknownKeys(rest, [...keysOf(CredentialBlock), ...everyCredentialKey], path, problems);
      return;
    }

    const settings = readRest(definition.credentialSettings, rest, CredentialBlock, path, problems);
    const unsafe = parsed.unsafe ?? [];
    const written = leftOut ? carryOver(definition, parsed.scope, unsafe, path, leftOut) : parsed.scope;
    if (written === undefined) return;
    const scope = parsePart(definition.scope, written, [...path, 'scope'], problems);
    const ttl = readTtl(parsed.ttl, [...path, 'ttl'], problems);
    (parsed.roles ?? []).forEach((role, position) => {
      const problem = checkRole(role, roles.get(organization.name) ?? new Set());
      if (problem !== undefined) problems.add([...path, 'roles', position], problem);
    });
    const renewal = ttl && readRenewal(parsed.renewal, [...path, 'renewal'], ttl, problems);
    if (!settings || !scope || !ttl || renewal === 'wrong') return;

    // JSON by the provider's schema.
    const bounds = scope as JsonObject;
    if (!leftOut) checkUnsafe(definition, bounds, unsafe, path, problems);
    const writes = definition.writes(bounds);
    const credential: CredentialConfig = {
      organization: organization.name,
      name: parsed.name,
      integration,
      provider: definition.name,
      ...(parsed.description !== undefined && { description: parsed.description }),
      scope: bounds,
      settings,
      ttl,
      limits: limitsOf(parsed.limits, definition.defaultLimits(settings)),
      roles: [...new Set(parsed.roles ?? [])],
      approval: parsed.approval ?? (writes ? 'required' : 'off'),
      writes,
      revocability: definition.revocability({ integration: integration.settings, credential: settings }),
      ...(renewal !== undefined && { renewal: { ...renewal, kind: definition.renewal } }),
      ...(definition.nativeMinimumSeconds !== undefined && {
        nativeMinimumSeconds: definition.nativeMinimumSeconds,
      }),
    };
    if (!register.add(credential)) {
      problems.add(
        [...path, 'name'],
        `the credential "${parsed.name}" stands twice in the organization "${organization.name}"; names must be unique`,
      );
    }
  });
  return register.all;
}

/** A right that does harm beyond the lease is named twice: in the scope, and as what it is. */
function checkUnsafe(
  definition: AnyProviderDefinition,
  scope: JsonObject,
  unsafe: readonly string[],
  path: Path,
  problems: Problems,
): void {
  const rights = definition.unsafeRights(scope);
  for (const { name, why, path: place } of rights.filter((right) => !unsafe.includes(right.name))) {
    problems.add(
      [...path, 'scope', ...place],
      `${showKey(name)} ${why}; remove it, or write "unsafe: [${name}]" on the credential`,
    );
  }
  unsafe.forEach((name, index) => {
    if (rights.some((right) => right.name === name)) return;
    problems.add([...path, 'unsafe', index], 'the scope has no unsafe right of this name; remove it');
  });
}

/** The bounds that are left of those that an earlier release took; undefined when none are. */
function carryOver(
  definition: AnyProviderDefinition,
  bounds: JsonObject,
  unsafe: readonly string[],
  path: Path,
  leftOut: Problems,
): JsonObject | undefined {
  const carried = definition.carryOver?.(bounds, unsafe) ?? { bounds, leftOut: [] };
  if (carried.leftOut.length > 0) {
    const whole = carried.bounds === undefined ? '; the credential has nothing else and is left out' : '';
    leftOut.add([...path, 'scope'], `${carried.leftOut.join('; ')}${whole}`);
  }
  return carried.bounds;
}

function definitionOf(
  provider: PlainValue | undefined,
  path: Path,
  problems: Problems,
): AnyProviderDefinition | undefined {
  if (typeof provider !== 'string') return undefined;
  const definition = providerDefinitions.get(provider);
  if (!definition) {
    const known = [...providerDefinitions.keys()];
    problems.add(
      path,
      `there is no provider ${showKey(provider)}${didYouMean(provider, known) || `; use one of: ${known.join(', ')}`}`,
    );
  }
  return definition;
}

/** The keys that every block of a kind has, and the rest, which is the provider's to judge. */
function split(block: PlainValue, common: z.ZodType): { own: PlainValue; rest: Record<string, PlainValue> } {
  const map = asMap(block);
  if (!map) return { own: block, rest: {} };
  const keys = new Set(keysOf(common));
  const entries = Object.entries(map);
  return {
    own: Object.fromEntries(entries.filter(([key]) => keys.has(key))),
    rest: Object.fromEntries(entries.filter(([key]) => !keys.has(key))),
  };
}

function readRest(
  schema: z.ZodType<object>,
  rest: Record<string, PlainValue>,
  common: z.ZodType,
  path: Path,
  problems: Problems,
): JsonObject | undefined {
  const own = keysOf(schema);
  const unknown = reportUnknownKeys(rest, [...keysOf(common), ...own], path, problems);
  const known = Object.fromEntries(Object.entries(rest).filter(([key]) => own.includes(key)));
  const parsed = parsePart(schema, known, path, problems);
  return unknown === 0 && parsed ? (parsed as JsonObject) : undefined;
}

/** What a credential may have besides the common keys, of whatever provider: for one whose provider is not known. */
const everyCredentialKey = [...providerDefinitions.values()].flatMap((definition) =>
  keysOf(definition.credentialSettings),
);

/** The number of keys of `rest` that nothing reads. */
function reportUnknownKeys(
  rest: Record<string, PlainValue>,
  known: readonly string[],
  path: Path,
  problems: Problems,
): number {
  const unknown = Object.keys(rest).filter((key) => !known.includes(key));
  for (const key of unknown) problems.add([...path, key], unknownKey(key, known));
  return unknown.length;
}

/** I5: an organization's integrations use its own secrets only. The reference itself is never repeated. */
function checkReferences(
  definition: AnyProviderDefinition,
  settings: JsonObject,
  organization: OrganizationConfig,
  path: Path,
  problems: Problems,
): void {
  for (const reference of definition.secretReferences(settings)) {
    if (mayUseReference(reference, organization.secretReferences)) continue;
    const allowed = organization.secretReferences.slice(0, 8).join(', ');
    problems.add(
      [...path, ...whereIs(reference, settings)],
      allowed === ''
        ? `the organization "${organization.name}" may use no secret references; list prefixes under its "secret_references"`
        : `the secret reference must begin with one of the prefixes of the organization "${organization.name}": ${allowed}`,
    );
  }
}

function integrationOf(
  credential: string,
  organization: OrganizationConfig,
  integrations: Integrations,
  path: Path,
  problems: Problems,
): IntegrationConfig | undefined {
  const name = credential.slice(0, credential.indexOf('/'));
  const own = integrations.all.get(organization.name);
  const found = own?.get(name);
  // Another organization's integration of that name does not count, and is not mentioned.
  const isBroken = integrations.written.has(name) && !existsElsewhere(name, integrations.all);
  if (!found && !isBroken && !integrations.leftOut.has(`${organization.name}/${name}`)) {
    problems.add(
      [...path, 'name'],
      `the organization "${organization.name}" has no integration "${name}"${didYouMean(name, own?.keys() ?? integrations.written)}`,
    );
  }
  return found;
}

function existsElsewhere(name: string, all: ByOrganization<IntegrationConfig>): boolean {
  return [...all.values()].some((names) => names.has(name));
}

/**
 * What is left out is as the provider has it, and without a limit where it has none. The highest number that can be written is no
 * limit: leases are then not even counted, which takes locks.
 */
function limitsOf(
  written: { per_session?: number | undefined; concurrent?: number | undefined } | undefined,
  defaults: CredentialConfig['limits'] = {},
): CredentialConfig['limits'] {
  const perSession = written?.per_session ?? defaults.perSession ?? noLimit;
  const concurrent = written?.concurrent ?? defaults.concurrent ?? noLimit;
  return { ...(perSession < noLimit && { perSession }), ...(concurrent < noLimit && { concurrent }) };
}

/** `ttl:` left out means 5 minutes; with `max` alone the default is 5 minutes or less; with `default` alone that is the maximum too. */
function readTtl(
  written: { default?: number | undefined; max?: number | undefined } | undefined,
  path: Path,
  problems: Problems,
): TtlBounds | undefined {
  const maxSeconds = written?.max ?? written?.default ?? defaultTtlSeconds;
  const defaultSeconds = written?.default ?? Math.min(defaultTtlSeconds, maxSeconds);
  if (defaultSeconds > maxSeconds || maxSeconds > absoluteMaxTtlSeconds) {
    problems.add([...path, 'default'], '"default" must not be longer than "max"');
    return undefined;
  }
  return { defaultSeconds, maxSeconds };
}

/** `renewal:` left out means that leases can't be renewed. */
function readRenewal(
  written: { max_life: number; max_count?: number | undefined; grace?: number | undefined } | undefined,
  path: Path,
  { maxSeconds }: TtlBounds,
  problems: Problems,
): RenewalTerms | 'wrong' | undefined {
  if (written === undefined) return undefined;
  if (written.max_life < maxSeconds) {
    problems.add([...path, 'max_life'], '"max_life" must not be shorter than the longest TTL');
    return 'wrong';
  }
  return {
    maxLifeSeconds: written.max_life,
    maxCount: written.max_count ?? renewalDefaults.maxCount,
    graceSeconds: written.grace ?? renewalDefaults.graceSeconds,
  };
}
