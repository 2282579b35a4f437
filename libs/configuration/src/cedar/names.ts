/** Names that policies speak of, compared with the names that the document has. */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import { showKey } from '../document/problems.ts';
import { didYouMean } from '../document/suggest.ts';
import { checkRole } from '../trust.ts';

/** `Credential::"orders-db/readonly"` */
export interface Literal {
  readonly type: string;
  readonly id: string;
}

export interface KnownNames {
  readonly organizations: ReadonlyMap<string, unknown>;
  readonly integrations: ReadonlyMap<string, ReadonlyMap<string, unknown>>;
  readonly credentials: ReadonlyMap<string, ReadonlyMap<string, unknown>>;
  /** Names of blocks that were dropped for problems of their own: naming one is not a second mistake. */
  readonly dropped: ReadonlySet<string>;
  /** Roles that trust rules give, by organization; an empty set where that is not known. */
  readonly roles: ReadonlyMap<string, ReadonlySet<string>>;
  /** The roles of all organizations. */
  readonly allRoles: ReadonlySet<string>;
}

/** Every entity that a policy names, each once. Bounded by the policy's own bounds. */
export function literalsOf(json: PolicyJson): Literal[] {
  const found = new Map<string, Literal>();
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    if ('type' in value && 'id' in value && typeof value.type === 'string' && typeof value.id === 'string') {
      found.set(`${value.type}::${value.id}`, { type: value.type, id: value.id });
    }
    for (const child of Object.values(value)) visit(child);
  };
  visit([json.principal, json.resource, json.conditions]);
  return [...found.values()];
}

/** What is wrong with a name in a policy; `organization` undefined for the policies of the whole document, where a name may be of any. */
export function nameProblem(
  literal: Literal,
  organization: string | undefined,
  names: KnownNames,
): string | undefined {
  if (names.dropped.has(literal.id)) return undefined;
  switch (literal.type) {
    case 'Organization':
      if (organization !== undefined && literal.id !== organization)
        return `the policies of the organization "${organization}" hold in it alone; remove ${show(literal)}`;
      return names.organizations.has(literal.id)
        ? undefined
        : `there is no organization ${showKey(literal.id)}${didYouMean(literal.id, names.organizations.keys())}`;
    case 'Integration':
      return missing(literal, 'integration', organization, names, names.integrations);
    case 'Credential':
      return missing(literal, 'credential', organization, names, names.credentials);
    case 'Role':
      return checkRole(
        literal.id,
        organization === undefined ? names.allRoles : (names.roles.get(organization) ?? new Set()),
      );
    default:
      return undefined;
  }
}

function missing(
  literal: Literal,
  kind: string,
  organization: string | undefined,
  names: KnownNames,
  all: ReadonlyMap<string, ReadonlyMap<string, unknown>>,
): string | undefined {
  const candidates =
    organization === undefined ? [...all.values()] : [all.get(organization) ?? new Map<string, unknown>()];
  if (candidates.some((known) => known.has(literal.id))) return undefined;
  const hint = didYouMean(literal.id, [
    ...candidates.flatMap((known) => [...known.keys()]),
    ...names.dropped,
  ]);
  return `there is no ${kind} ${showKey(literal.id)}${organization === undefined ? '' : ` in the organization "${organization}"`}${hint}`;
}

function show(literal: Literal): string {
  return `${literal.type}::${showKey(literal.id)}`;
}
