/**
 * Which policies can matter to a request, found by their heads. Cedar ignores a policy whose head does not match, so
 * leaving it out changes nothing, and the cost of a decision no longer grows with the number of policies and credentials.
 * A head that is not understood here goes to every slice: the engine judges it.
 */
import type { CheckedPolicy } from './policies.ts';

/** Policies with the same head. */
export interface Bucket {
  /** Unique in the process, so that slices of different configurations never share a slot. */
  readonly id: number;
  readonly policies: CheckedPolicy[];
}

let bucketsMade = 0;

/** An index of policies by resource, then by principal. */
export class PolicyIndex {
  readonly #buckets = new Map<string, Map<string, Bucket>>();

  constructor(policies: Iterable<CheckedPolicy>) {
    for (const policy of policies)
      this.#bucket(resourceKey(policy), principalKey(policy)).policies.push(policy);
  }

  /** At most six buckets: of the credential, its integration, any resource; each for the role and for any principal. */
  slice(credential: string, integration: string, role: string | undefined): Bucket[] {
    const found: Bucket[] = [];
    for (const resource of [`credential ${credential}`, `integration ${integration}`, any]) {
      const byPrincipal = this.#buckets.get(resource);
      const general = byPrincipal?.get(any);
      const ofRole = role === undefined ? undefined : byPrincipal?.get(`role ${role}`);
      if (general) found.push(general);
      if (ofRole) found.push(ofRole);
    }
    return found;
  }

  #bucket(resource: string, principal: string): Bucket {
    const byPrincipal = this.#buckets.get(resource) ?? new Map<string, Bucket>();
    this.#buckets.set(resource, byPrincipal);
    const bucket = byPrincipal.get(principal) ?? { id: bucketsMade++, policies: [] };
    byPrincipal.set(principal, bucket);
    return bucket;
  }
}

const any = '*';

interface EntityName {
  readonly type: string;
  readonly id: string;
}

/** `==` and `in` name the same credential, since nothing is in a credential but itself; of integrations only `in` can match one. */
function resourceKey({ json: { resource } }: CheckedPolicy): string {
  const entity = entityOf(resource);
  if (entity?.type === 'Credential') return `credential ${entity.id}`;
  if (entity?.type === 'Integration' && resource.op !== '==') return `integration ${entity.id}`;
  return any;
}

function principalKey({ json: { principal } }: CheckedPolicy): string {
  const entity = entityOf(principal);
  return entity?.type === 'Role' && principal.op !== '==' ? `role ${entity.id}` : any;
}

/** The entity of a head constraint `== E`, `in E`, `is T in E`. */
export function entityOf(constraint: object): EntityName | undefined {
  const holder = 'in' in constraint && typeof constraint.in === 'object' ? constraint.in : constraint;
  if (holder === null || !('entity' in holder)) return undefined;
  const entity = holder.entity;
  if (typeof entity !== 'object' || entity === null) return undefined;
  const name = '__entity' in entity ? entity.__entity : entity;
  if (typeof name !== 'object' || name === null || !('type' in name) || !('id' in name)) return undefined;
  return typeof name.type === 'string' && typeof name.id === 'string'
    ? { type: name.type, id: name.id }
    : undefined;
}
