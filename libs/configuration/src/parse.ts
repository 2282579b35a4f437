/** Reads a configuration document: YAML, blocks, names, policies, in that order; everything that is wrong comes at once. */
import type { ConfigProblem } from '@mayfly/contracts';
import { z } from 'zod';
import { checkPolicies } from './cedar/policies.ts';
import type { Configuration } from './configuration.ts';
import { readCredentials, readIntegrations } from './credentials.ts';
import type { Problems } from './document/problems.ts';
import { asMap, parsePart } from './document/sentences.ts';
import { readYaml, type PlainValue } from './document/yaml.ts';
import { warnOfNeverGranted } from './never-granted.ts';
import { readOrganizations } from './organizations.ts';
import type { SecretAt } from './secrets.ts';
import { readTrust, rolesGiven } from './trust.ts';

export type ParsedConfiguration =
  | {
      readonly outcome: 'ok';
      readonly configuration: Configuration;
      /** What of a stored document this release gives no longer, place by place. Empty for any other. */
      readonly leftOut: readonly ConfigProblem[];
      /** What is right and yet hardly meant, place by place: credentials that can never be granted. At most 100. */
      readonly warnings: readonly ConfigProblem[];
    }
  | { readonly outcome: 'rejected'; readonly problems: ConfigProblem[] };

const Document = z.strictObject({
  organizations: z.unknown().optional(),
  trust: z.unknown().optional(),
  integrations: z.unknown().optional(),
  credentials: z.unknown().optional(),
  policies: z.string().optional(),
});

/** How many blocks of each kind a document may have. */
const maxBlocks = { organizations: 1_000, trust: 1_000, integrations: 10_000, credentials: 20_000 } as const;

export interface ParseOptions {
  /** Default: no secret can be seen. One that can't is no problem. */
  readonly secretAt?: SecretAt;
  /** Whether an earlier release may have applied it: rights that it gave and this one does not are left out and told, and are no problem. */
  readonly stored?: boolean;
}

/** Checks a whole document; answers with what it means, or with all that is wrong with it (at most 100 problems). Never throws. */
export function parseConfiguration(
  document: string,
  { secretAt = () => undefined, stored = false }: ParseOptions = {},
): ParsedConfiguration {
  const source = readYaml(document);
  const { problems } = source;
  const leftOut = problems.beside();
  const top = asMap(source.value);
  if (problems.any && !top) return { outcome: 'rejected', problems: problems.list() };
  if (!top) {
    problems.add(
      [],
      'the document must be a map with "organizations:" and more; it is empty or something else',
    );
    return { outcome: 'rejected', problems: problems.list() };
  }

  const shell = parsePart(Document, top, [], problems);
  const organizations = readOrganizations(blocksOf('organizations', top, problems), problems);
  const trustBlocks = blocksOf('trust', top, problems);
  const trust = readTrust(trustBlocks, organizations, problems);
  // With a rule dropped for its own problems, a role that it would give must not be reported as unknown.
  const roles = trust.length === trustBlocks.length ? rolesGiven(trust) : new Map<string, Set<string>>();
  const integrationBlocks = blocksOf('integrations', top, problems);
  const integrations = readIntegrations(
    integrationBlocks,
    organizations,
    trust,
    secretAt,
    problems,
    stored ? leftOut : undefined,
  );
  const credentialBlocks = blocksOf('credentials', top, problems);
  const credentials = readCredentials(
    credentialBlocks,
    organizations,
    integrations,
    roles,
    problems,
    stored ? leftOut : undefined,
  );
  const policies = checkPolicies(
    {
      general: shell?.policies,
      byOrganization: organizations.policies,
      names: {
        organizations: organizations.all,
        integrations: integrations.all,
        credentials,
        dropped:
          problems.any || leftOut.any
            ? namesIn(top['organizations'], integrationBlocks, credentialBlocks)
            : new Set(),
        roles,
        allRoles: new Set([...roles.values()].flatMap((given) => [...given])),
      },
    },
    source,
  );
  if (problems.any || !policies) return { outcome: 'rejected', problems: problems.list() };

  const configuration: Configuration = {
    organizations: organizations.all,
    trust,
    policies,
    credential: (organization, name) => credentials.get(organization)?.get(name),
    credentialsOf: (organization) => credentials.get(organization)?.values() ?? [],
    integration: (organization, name) => integrations.all.get(organization)?.get(name),
    integrations: [...integrations.all.values()].flatMap((ofOne) => [...ofOne.values()]),
  };
  const warnings = problems.beside();
  warnOfNeverGranted(credentialBlocks, configuration, warnings);
  return { outcome: 'ok', configuration, leftOut: leftOut.list(), warnings: warnings.list() };
}

function blocksOf(
  key: keyof typeof maxBlocks,
  top: Record<string, PlainValue>,
  problems: Problems,
): readonly PlainValue[] {
  const value = top[key];
  if (value === undefined && key !== 'organizations') return [];
  if (!Array.isArray(value) || (key === 'organizations' && value.length === 0)) {
    problems.add(
      [key],
      value === undefined
        ? `"${key}" is missing; add a list with at least one entry`
        : `"${key}" must be a list${key === 'organizations' ? ' with at least one entry' : '; write [] or leave it out for none'}`,
    );
    return [];
  }
  if (value.length > maxBlocks[key]) {
    problems.add([key], `"${key}" must have at most ${maxBlocks[key]} entries`);
    return [];
  }
  return value;
}

function namesIn(...lists: (PlainValue | readonly PlainValue[] | undefined)[]): Set<string> {
  const blocks = lists.flatMap((list) => (Array.isArray(list) ? list : []));
  return new Set(
    blocks.flatMap((block) => {
      const name = asMap(block)?.['name'];
      return typeof name === 'string' ? [name] : [];
    }),
  );
}
