/** `organizations:`. What keeps them apart is checked here: trust domains and secret-reference prefixes are nobody else's (I5). */
import { SecretReference } from '@mayfly/domain';
import type { OrganizationConfig } from './configuration.ts';
import { OrganizationBlock } from './document/blocks.ts';
import { showKey, type Path, type Problems } from './document/problems.ts';
import { parsePart } from './document/sentences.ts';
import { didYouMean } from './document/suggest.ts';
import type { PlainValue } from './document/yaml.ts';

/** The organizations of a document, and how the other blocks find theirs. */
export interface Organizations {
  readonly all: ReadonlyMap<string, OrganizationConfig>;
  /** Cedar text by organization, with where it stands. */
  readonly policies: readonly { readonly organization: string; readonly path: Path; readonly text: string }[];
  /** The organization that a block belongs to: the one it names, or the only one. Reports what is wrong and answers undefined. */
  resolve(named: string | undefined, path: Path, problems: Problems): OrganizationConfig | undefined;
}

export function readOrganizations(blocks: readonly PlainValue[], problems: Problems): Organizations {
  const all = new Map<string, OrganizationConfig>();
  const policies: { organization: string; path: Path; text: string }[] = [];
  const trustDomains = new Map<string, string>();
  const prefixes: OwnedPrefix[] = [];

  blocks.forEach((block, index) => {
    const path = ['organizations', index];
    const parsed = parsePart(OrganizationBlock, block, path, problems);
    if (!parsed) return;
    if (all.has(parsed.name)) {
      problems.add([...path, 'name'], `the organization "${parsed.name}" stands twice; names must be unique`);
      return;
    }
    const owner = trustDomains.get(parsed.trust_domain);
    if (owner !== undefined) {
      problems.add(
        [...path, 'trust_domain'],
        `the trust domain belongs to the organization "${owner}" already; give each organization its own`,
      );
    }
    trustDomains.set(parsed.trust_domain, parsed.name);
    const references = parsed.secret_references ?? [];
    references.forEach((prefix, position) => {
      const at = [...path, 'secret_references', position];
      const problem = describePrefixProblem(prefix);
      if (problem !== undefined) problems.add(at, problem);
      prefixes.push({ prefix, organization: parsed.name, path: at });
    });
    if (parsed.policies !== undefined) {
      policies.push({ organization: parsed.name, path: [...path, 'policies'], text: parsed.policies });
    }
    all.set(parsed.name, {
      name: parsed.name,
      trustDomain: parsed.trust_domain,
      secretReferences: references,
    });
  });

  checkOverlaps(prefixes, problems);

  const declared = blocks.length;
  return {
    all,
    policies,
    resolve(named, path, target) {
      if (named === undefined) {
        const [only] = all.values();
        if (declared === 1) return only;
        target.add(path, 'the document has several organizations; say which one with "organization:"');
        return undefined;
      }
      const found = all.get(named);
      // With a broken organization block its name may be the one that is meant: told once, there.
      if (!found && all.size === declared) {
        target.add(
          [...path, 'organization'],
          `there is no organization ${showKey(named)}${didYouMean(named, all.keys())}`,
        );
      }
      return found;
    },
  };
}

/** Names of the environment that are Mayfly's own: never resolvable as references. */
const ownVariables = 'env:MAYFLY_';

function describePrefixProblem(prefix: string): string | undefined {
  // A prefix is a reference that may end early.
  const example = prefix.endsWith('/') ? `${prefix}x` : prefix;
  if (!SecretReference.safeParse(example).success || prefix === 'file:/') {
    return 'must be the beginning of secret references, such as env:ORDERS_ or file:/run/secrets/acme/ (a plain absolute path)';
  }
  if (overlap(prefix, ownVariables)) {
    return 'must not cover env:MAYFLY_: those variables are Mayfly’s own';
  }
  return undefined;
}

function overlap(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

interface OwnedPrefix {
  readonly prefix: string;
  readonly organization: string;
  readonly path: Path;
}

/** Secrets are never shared: no prefix covers another organization's. In sorted order, what covers a prefix stands before it. */
function checkOverlaps(prefixes: readonly OwnedPrefix[], problems: Problems): void {
  const sorted = prefixes.toSorted((a, b) => (a.prefix < b.prefix ? -1 : 1));
  const covering: OwnedPrefix[] = [];
  for (const current of sorted) {
    while (covering.length > 0 && !current.prefix.startsWith(covering.at(-1)?.prefix ?? '')) covering.pop();
    const other = covering.find((wider) => wider.organization !== current.organization);
    if (other) {
      problems.add(
        current.path,
        `the prefix overlaps with one of the organization "${other.organization}"; secrets are never shared, so choose another prefix`,
      );
    }
    covering.push(current);
  }
}
