/** Cedar decisions on who may have a credential. */
import type { Configuration, CredentialConfig } from '../configuration.ts';
import { authorizeWith } from './engine.ts';
import { rolesPermitId } from './policies.ts';
import { cedarRequest } from './request.ts';
import { PolicyIndex, type Bucket } from './slices.ts';

/** Who asks for which credential, and how. Everything about the asker comes from verified claims. */
export interface PolicyQuestion {
  readonly organization: string;
  /** SPIFFE ID. */
  readonly agentId: string;
  readonly kind: 'agent' | 'person';
  readonly agentRole?: string;
  readonly user?: string;
  readonly task?: string;
  /** Of the configuration that the evaluator was compiled from. */
  readonly credential: CredentialConfig;
  readonly context: {
    /** IPv4 or IPv6 address. */
    readonly source_ip: string;
    /** Effective TTL, in seconds. */
    readonly ttl_seconds: number;
    /** What the agent says it is doing; unverified. */
    readonly claimed_task?: string;
    readonly justification_given: boolean;
    /** Hour of the day in UTC, 0 to 23; the clock's when absent. */
    readonly now_hour?: number;
  };
}

export interface PolicyDecision {
  readonly decision: 'allow' | 'deny';
  /** The policies that made the decision; empty when nothing permitted it. At most 64. */
  readonly policyIds: readonly string[];
  /** One sentence for audit, never for the asker. */
  readonly reason: string;
}

export class PolicyEvaluator {
  readonly #configuration: Configuration;
  readonly #general: PolicyIndex;
  readonly #byOrganization: ReadonlyMap<string, PolicyIndex>;

  private constructor(configuration: Configuration) {
    this.#configuration = configuration;
    this.#general = new PolicyIndex(configuration.policies.general);
    this.#byOrganization = new Map(
      [...configuration.policies.byOrganization].map(([name, policies]) => [name, new PolicyIndex(policies)]),
    );
  }

  /** Indexes the policies by what they can apply to. The engine parses them when they are first needed. */
  static compile(configuration: Configuration): PolicyEvaluator {
    return new PolicyEvaluator(configuration);
  }

  /** Decides. Fails closed: any error of any policy that applies is a `deny`. Never throws. */
  evaluate(question: PolicyQuestion): PolicyDecision {
    const { credential, organization } = question;
    const known = this.#configuration.credential(organization, credential.name);
    if (known !== credential) return deny('the credential is not one of this organization');

    const role = question.kind === 'agent' ? question.agentRole : undefined;
    const integration = credential.integration.name;
    const buckets = [
      ...this.#general.slice(credential.name, integration, role),
      ...(this.#byOrganization.get(organization)?.slice(credential.name, integration, role) ?? []),
    ];
    const byRole = role !== undefined && credential.roles.includes(role);
    if (buckets.length === 0 && !byRole) return deny('no policy permits it');

    const answer = authorizeWith(
      `${byRole ? 'role' : ''} ${buckets.map((bucket) => bucket.id).join(' ')}`,
      () => policiesOf(buckets, byRole),
      cedarRequest(question),
    );
    if (answer?.type !== 'success') return deny('the policies could not be evaluated');
    const { decision, diagnostics } = answer.response;
    const policyIds = diagnostics.reason
      .map((id) => (id === headlessPermit ? rolesPermitId(credential) : id))
      .toSorted()
      .slice(0, maxPolicyIds);
    const [failed] = diagnostics.errors;
    if (failed)
      return deny(`the policy ${failed.policyId} failed: ${failed.error.message}`, [failed.policyId]);
    if (decision !== 'allow') {
      return policyIds.length > 0
        ? deny(`forbidden by ${policyIds.join(', ')}`, policyIds)
        : deny('no policy permits it');
    }
    return { decision: 'allow', policyIds, reason: clip(`permitted by ${policyIds.join(', ')}`) };
  }
}

/** As many as a grant holds. */
const maxPolicyIds = 64;

/**
 * `roles:` compiles to one permit per credential, which has a head and no condition. Where its head matches, a permit
 * without one says the same, so ten thousand credentials share it instead of having a parsed slice each. `#` keeps its id
 * apart from those of hand-written policies.
 */
const headlessPermit = '#roles';
const headlessPermitText = 'permit (principal, action, resource);';

function policiesOf(buckets: readonly Bucket[], byRole: boolean): Record<string, string> {
  const written = buckets.flatMap((bucket) => bucket.policies.map(({ id, text }) => [id, text] as const));
  return Object.fromEntries(byRole ? [...written, [headlessPermit, headlessPermitText]] : written);
}

function deny(reason: string, policyIds: readonly string[] = []): PolicyDecision {
  return { decision: 'deny', policyIds, reason: clip(reason) };
}

/** `reason` of an event holds at most 500 characters. */
function clip(reason: string): string {
  return reason.length > 500 ? `${reason.slice(0, 499)}…` : reason;
}
