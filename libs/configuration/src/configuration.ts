/** The checked configuration: what `mayfly.yaml` says, with names resolved, defaults filled in and durations in seconds. */
import type { JsonObject, PersonRole, Revocability } from '@mayfly/contracts';
import type { RenewalTerms, TtlBounds } from '@mayfly/domain';
import type { CheckedPolicies } from './cedar/policies.ts';

/** The tenant. Nothing crosses from one organization to another. */
export interface OrganizationConfig {
  readonly name: string;
  /** SPIFFE trust domain of its agents; no two organizations have the same. */
  readonly trustDomain: string;
  /** Prefixes of the secret references that its integrations may use (`env:ORDERS_`, `file:/run/secrets/acme/`). Those of two organizations never overlap. */
  readonly secretReferences: readonly string[];
}

/**
 * A claim of the payload: a dot path (`realm.groups`, `kubernetes.io.namespace`), or the exact keys one below the other, for
 * names that could be read in two ways.
 */
export type ClaimPath = string | readonly string[];

/** Where a value of the session comes from: a verified claim or the rule itself. */
export type ClaimSource = { readonly claim: ClaimPath } | { readonly value: string };

/** Where the agent role comes from. A claim must hold one of `allowed`, exactly; anything else gives no session. */
export type RoleSource =
  { readonly claim: ClaimPath; readonly allowed: readonly string[] } | { readonly value: string };

/** Where the issuer's public keys are: fetched from `url` (https, or http on this machine), or read from an absolute path. */
export type JwksSource = { readonly url: string } | { readonly file: string };

/**
 * Signature algorithms that a trust rule may accept: asymmetric ones only (RFC 7518 §3.1, RFC 8037 §3.1). `Ed25519` is the
 * newer name of what Mayfly takes as `EdDSA` (RFC 9864 §2.2): a rule that names either accepts both.
 */
export const trustAlgorithms = [
  'EdDSA',
  'Ed25519',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
  'RS256',
  'RS384',
  'RS512',
] as const;
export type TrustAlgorithm = (typeof trustAlgorithms)[number];

interface TrustRuleBase {
  /** Unique in the organization. */
  readonly name: string;
  readonly organization: string;
  /** `iss`, compared as a whole. */
  readonly issuer: string;
  /** Must be (one of) `aud`. */
  readonly audience: string;
  readonly jwks: JwksSource;
  /** Claim (dot path) → the value, or one of the values, that it must equal; compared exactly and as a whole. */
  readonly require: Readonly<Record<string, string | readonly string[]>>;
  readonly algorithms: readonly TrustAlgorithm[];
  /** At most 3600. The identity that opens a session may be shorter-lived than the session. */
  readonly sessionTtlSeconds: number;
  /** For how long after it was issued (`iat`) an identity token opens sessions; at most 24 hours. */
  readonly maxIdentityAgeSeconds: number;
  /** How many sessions one identity token opens in its life. */
  readonly maxSessionsPerIdentity: number;
  /** Whether a session has to register a key of its own, so that its secrets never pass the gateway in the clear. */
  readonly requireRecipientKey: boolean;
}

/** Admits agents. */
export interface AgentTrustRule extends TrustRuleBase {
  readonly as: 'agent';
  readonly agent: {
    readonly orchestration: ClaimSource;
    readonly task: ClaimSource;
    readonly instance: ClaimSource;
  };
  readonly role?: RoleSource;
  /** The human on whose behalf the agent acts; a claim that is absent means no user. */
  readonly user?: ClaimSource;
}

/** Admits people. */
export interface PersonTrustRule extends TrustRuleBase {
  readonly as: 'person';
  readonly user: ClaimSource;
  /** Values of a claim (a string or an array of them) that make a person an administrator, an auditor or both. */
  readonly personRoles?: { readonly claim: ClaimPath; readonly values: Readonly<Record<string, PersonRole>> };
}

/** Who may open a session, and as whom. */
export type TrustRule = AgentTrustRule | PersonTrustRule;

/** One configured upstream account. */
export interface IntegrationConfig {
  readonly organization: string;
  readonly name: string;
  readonly provider: string;
  /** As the provider's `integrationSettings` of `@mayfly/domain` parsed them; secrets by reference only. */
  readonly settings: JsonObject;
}

/** A named thing that an agent may ask for. */
export interface CredentialConfig {
  readonly organization: string;
  /** `<integration>/<name>`, unique in the organization. */
  readonly name: string;
  readonly integration: IntegrationConfig;
  readonly provider: string;
  readonly description?: string;
  /** The bounds: the widest scope that a lease of it may have. */
  readonly scope: JsonObject;
  /** As the provider's `credentialSettings` parsed them. */
  readonly settings: JsonObject;
  readonly ttl: TtlBounds;
  /** As the document says, or as the provider has it by default. */
  readonly limits: {
    /** Live leases of it that one session may hold. */
    readonly perSession?: number;
    /** Live leases of it in the whole organization. */
    readonly concurrent?: number;
  };
  /** Agent roles that may have it without a policy of its own. */
  readonly roles: readonly string[];
  /** `required` when the scope writes and the document does not say `approval: off`, or when it says `approval: required`. */
  readonly approval: 'required' | 'off';
  /** Whether the bounds let a holder change anything; derived by the provider. */
  readonly writes: boolean;
  readonly revocability: Revocability;
  /** Absent when its leases can't be renewed. `kind` is the provider's. */
  readonly renewal?: RenewalTerms & { readonly kind: 'in_place' | 'rotation' };
  /** The shortest life that the upstream gives by itself, in seconds, where it has one. */
  readonly nativeMinimumSeconds?: number;
}

/** A whole checked document. Immutable; look-ups cost the same whatever its size. */
export interface Configuration {
  readonly organizations: ReadonlyMap<string, OrganizationConfig>;
  readonly trust: readonly TrustRule[];
  /** The Cedar policies of the document, checked; `PolicyEvaluator.compile` takes them from here. */
  readonly policies: CheckedPolicies;
  credential(organization: string, name: string): CredentialConfig | undefined;
  credentialsOf(organization: string): Iterable<CredentialConfig>;
  integration(organization: string, name: string): IntegrationConfig | undefined;
  /** All of them, of all organizations. */
  readonly integrations: Iterable<IntegrationConfig>;
}
