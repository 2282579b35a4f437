/**
 * Credentials that a document has and that nobody can ever get: nothing is wrong with them, but hardly anybody means that. Told as
 * warnings. Says nothing where it is not certain: a condition of a policy may always hold.
 */
import { needsNoApproval } from './approval.ts';
import type { CheckedPolicy } from './cedar/policies.ts';
import { entityOf } from './cedar/slices.ts';
import type { Configuration, CredentialConfig } from './configuration.ts';
import { showKey, type Problems } from './document/problems.ts';
import { asMap } from './document/sentences.ts';
import type { PlainValue } from './document/yaml.ts';
import { rolesGiven } from './trust.ts';

/** @param blocks `credentials:` as written, to point to. */
export function warnOfNeverGranted(
  blocks: readonly PlainValue[],
  configuration: Configuration,
  warnings: Problems,
): void {
  const [onlyOrganization] = configuration.organizations.keys();
  const askers = new Map<string, Askers>();
  blocks.forEach((block, index) => {
    const { name, organization = onlyOrganization } = asMap(block) ?? {};
    if (typeof name !== 'string' || typeof organization !== 'string') return;
    const credential = configuration.credential(organization, name);
    if (credential === undefined) return;
    const known = askers.get(organization) ?? new Askers(organization, configuration);
    askers.set(organization, known);
    const why = known.whyNobody(credential) ?? whyNotApproved(credential);
    if (why === undefined) return;
    warnings.add(['credentials', index, 'name'], `${showKey(name)} can never be granted: ${why}`);
  });
}

function whyNotApproved(credential: CredentialConfig): string | undefined {
  if (needsNoApproval(credential)) return undefined;
  return credential.writes
    ? 'it writes, so it needs approval, which this version cannot ask for; say "approval: off" if it may be had without'
    : 'it needs approval, which this version cannot ask for; say "approval: off" if it may be had without';
}

/** Who of an organization may ask for what, as far as heads of policies tell. */
class Askers {
  readonly #hasAgents: boolean;
  readonly #roles: ReadonlySet<string>;
  /** What each permit and each forbid without a condition is about, as in `targetOf`. */
  readonly #permitted = new Set<string>();
  readonly #forbidden = new Map<string, string>();

  constructor(
    private readonly organization: string,
    { trust, policies }: Configuration,
  ) {
    const rules = trust.filter((rule) => rule.organization === organization && rule.as === 'agent');
    this.#hasAgents = rules.length > 0;
    this.#roles = rolesGiven(rules).get(organization) ?? new Set();
    for (const policy of [...policies.general, ...(policies.byOrganization.get(organization) ?? [])]) {
      const { effect, conditions } = policy.json;
      if (effect === 'permit') {
        if (this.#isForSomeAgent(policy)) this.#permitted.add(targetOf(policy));
      } else if (conditions.length === 0 && this.#isForEveryAgent(policy)) {
        this.#forbidden.set(targetOf(policy), policy.id);
      }
    }
  }

  /** Why no agent of the organization can be permitted it; undefined when one may. */
  whyNobody(credential: CredentialConfig): string | undefined {
    const { organization } = this;
    if (!this.#hasAgents) return `no trust rule admits agents of the organization "${organization}"; add one`;
    const targets = [
      any,
      `Organization ${organization}`,
      `Integration ${credential.integration.name}`,
      `Credential ${credential.name}`,
    ];
    const forbidding = targets.map((target) => this.#forbidden.get(target)).find((id) => id !== undefined);
    if (forbidding !== undefined) return `the policy "${forbidding}" forbids it to everybody`;
    if (credential.roles.some((role) => this.#roles.has(role))) return undefined;
    if (targets.some((target) => this.#permitted.has(target))) return undefined;
    return credential.roles.length > 0
      ? 'no trust rule gives any of its roles; add "role" to a rule'
      : 'nobody may ask for it; list agent roles under "roles", or write a policy that permits it';
  }

  #isForSomeAgent({ json: { principal } }: CheckedPolicy): boolean {
    if (principal.op === 'is' && principal.entity_type !== 'Agent') return false;
    const entity = entityOf(principal);
    if (entity?.type === 'Role') return this.#roles.has(entity.id);
    if (entity?.type === 'Organization') return entity.id === this.organization;
    return entity?.type !== 'Person';
  }

  #isForEveryAgent({ json: { principal } }: CheckedPolicy): boolean {
    if (principal.op === 'All') return true;
    const entity = entityOf(principal);
    if (entity === undefined) return principal.op === 'is' && principal.entity_type === 'Agent';
    const isOurs = entity.type === 'Organization' && entity.id === this.organization;
    return isOurs && (principal.op === 'in' || (principal.op === 'is' && principal.entity_type === 'Agent'));
  }
}

const any = '*';

/** `Credential orders-db/readonly`, or `*` for what is not limited to one thing. */
function targetOf({ json: { resource } }: CheckedPolicy): string {
  const entity = entityOf(resource);
  return entity === undefined ? any : `${entity.type} ${entity.id}`;
}
