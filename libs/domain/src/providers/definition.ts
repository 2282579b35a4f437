/**
 * The pure half of a provider: what its settings, scopes and secrets look like and how a scope narrows. Policy decides
 * with it, `mayfly config check` checks with it, and minting's half (`apps/minting/src/providers/<name>/`) does the I/O.
 */
import type { JsonObject, Revocability } from '@mayfly/contracts';
import type { z } from 'zod';

export type NarrowResult<Scope> =
  | { readonly outcome: 'narrowed'; readonly scope: Scope }
  /** The request asks for more than the bounds hold. `reason` may be shown to the asker: it names what was asked, not what else exists. */
  | { readonly outcome: 'exceeded'; readonly reason: string }
  /** The request is not in the provider's form. */
  | { readonly outcome: 'malformed'; readonly reason: string };

/** A right whose holder can do harm that does not end with the lease, so that a credential has it only where its block says so. */
export interface UnsafeRight {
  /** As `unsafe:` of the credential names it. */
  readonly name: string;
  /** What it lets a lease do: the end of a sentence that begins with the name. */
  readonly why: string;
  /** Where in the scope it stands. */
  readonly path: readonly (string | number)[];
}

/** Bounds as an earlier release applied them, without what this one gives no longer. */
export interface CarriedOver {
  /** Undefined when nothing is left. */
  readonly bounds: JsonObject | undefined;
  /** A sentence for each thing that was left out. */
  readonly leftOut: readonly string[];
}

export interface ProviderDefinition<
  IntegrationSettings extends object = object,
  CredentialSettings extends object = object,
  Scope extends object = object,
> {
  /** As in `provider:` of `mayfly.yaml`. */
  readonly name: string;
  /** The integration block beside `name`, `provider` and `organization`. Strict. */
  readonly integrationSettings: z.ZodType<IntegrationSettings>;
  /** The credential block beside what every credential has. Strict. */
  readonly credentialSettings: z.ZodType<CredentialSettings>;
  /** A complete scope: bounds in the configuration, and what `narrow` answers. Strict. */
  readonly scope: z.ZodType<Scope>;
  /** What the holder receives as `secret`. */
  readonly secret: z.ZodType<object>;
  /** The secret references among the integration's settings, so that they can be checked against the organization's prefixes (I5). */
  secretReferences(settings: IntegrationSettings): readonly string[];
  /**
   * What is wrong with a secret that one of the references leads to, as a sentence that quotes nothing of it; undefined when it can be
   * used. For `mayfly config check`, which sees some of them; minting says the same at the first use.
   */
  secretProblem?(value: string): string | undefined;
  /** Whatever is asked, the result is never wider than the bounds (I4). `undefined` asks for the bounds themselves. */
  narrow(requested: unknown, bounds: Scope): NarrowResult<Scope>;
  /** Whether a scope lets its holder change anything. Unknown counts as yes. */
  writes(scope: Scope): boolean;
  /** The unsafe rights of a scope. Absent: the provider has none. */
  unsafeRights?(scope: Scope): readonly UnsafeRight[];
  /**
   * Takes bounds of a document that an earlier release applied, so that an upgrade does not stop all issuance; `unsafe` is what the
   * credential's block names. The result is never wider. Absent: nothing has ever been taken out of the provider's scopes.
   */
  carryOver?(bounds: JsonObject, unsafe: readonly string[]): CarriedOver;
  revocability(settings: { integration: IntegrationSettings; credential: CredentialSettings }): Revocability;
  /** Whether the upstream can let the same secret work for longer, or a renewal takes a new lease. */
  readonly renewal: 'in_place' | 'rotation';
  /** The shortest life that the upstream gives by itself, in seconds, where it has one. */
  readonly nativeMinimumSeconds?: number;
  /**
   * Whether minting holds a connection at the upstream for as long as leases live there, for their ends alone. Each replica of
   * minting is then reminded of the upstreams at which leases live, also after a restart.
   */
  readonly keepsConnection?: boolean;
  /** What `limits:` of a credential are when the document does not say. Absent: none. */
  defaultLimits?(settings: CredentialSettings): DefaultLimits;
}

/** Live leases of one credential at most: those that one session may hold, and those in the whole organization. */
export interface DefaultLimits {
  readonly perSession: number;
  readonly concurrent: number;
}
