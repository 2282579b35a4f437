/**
 * What a provider is: the pure half from `@mayfly/domain` and, here, the calls to its upstream. A provider never sees
 * HTTP, NATS or Postgres of ours: it gets what policy signed, already parsed by its own schemas, and a resolver for its
 * secret references. Spans, deadlines and concurrency are the runner's business.
 */
import type { Fingerprint, JsonObject, OutputOf, RecipientKey, UseKeys, bus } from '@mayfly/contracts';
import type { ProviderDefinition, Secret } from '@mayfly/domain';
import type { Deadline } from './deadline.ts';

/** Gives out the secret that a reference names, or throws ProviderRejected. Call it for each use: secrets rotate. */
export type SecretResolver = (reference: string) => Promise<Secret>;

/** What every call is about. */
export interface LeaseContext<IntegrationSettings extends object> {
  /** UUIDv7. What is made upstream is named after it, so that it can be found after a crash (I6). */
  readonly leaseId: string;
  readonly organization: string;
  /** Name of the integration; unique within the organization only. */
  readonly integration: string;
  readonly integrationSettings: IntegrationSettings;
  readonly secrets: SecretResolver;
  /** Nothing may take effect upstream after it, as far as the upstream lets that be enforced. */
  readonly deadline: Deadline;
}

export interface MintContext<
  IntegrationSettings extends object,
  CredentialSettings extends object,
  Scope extends object,
> extends LeaseContext<IntegrationSettings> {
  readonly credentialSettings: CredentialSettings;
  /** SPIFFE ID. */
  readonly agentId: string;
  /** The human on whose behalf the agent acts. */
  readonly user?: string;
  /** From verified claims. */
  readonly task?: string;
  /** The credential's full bounds. */
  readonly bounds: Scope;
  /** Effective scope, final. */
  readonly scope: Scope;
  readonly ttlSeconds: number;
  /** When policy granted it, by Postgres' clock: for an upstream that goes by the clock it is told. */
  readonly grantedAt: Date;
  /** The asker's own public key, when it has one: for what can be bound to a key. */
  readonly askerKey?: RecipientKey;
}

export interface RevokeContext<IntegrationSettings extends object> extends LeaseContext<IntegrationSettings> {
  /** What `mint` answered with. From a sealed handle, so it is the provider's own word; its shape may be an older version's. */
  readonly handle: JsonObject;
}

export interface RenewContext<IntegrationSettings extends object> extends RevokeContext<IntegrationSettings> {
  /** From now on, by the upstream's clock. */
  readonly ttlSeconds: number;
  /** Whatever the upstream's clock says, it must not come to work for longer. */
  readonly notAfter: Date;
}

export interface ReconcileContext<
  IntegrationSettings extends object,
  CredentialSettings extends object,
> extends LeaseContext<IntegrationSettings> {
  readonly credentialSettings: CredentialSettings;
}

export interface Minted {
  /** JSON of the definition's `secret`. Wrapped until it is sealed. */
  readonly secret: Secret;
  /** What `revoke` needs beside the integration settings. Never the minted secret. */
  readonly handle: JsonObject;
  /** When the upstream ends it by itself, by the upstream's clock. */
  readonly nativeExpiresAt?: Date;
  /** What auditors may know of the secret. */
  readonly fingerprints: readonly Fingerprint[];
  /** What of it shows up in the upstream's own logs. */
  readonly useKeys: UseKeys;
}

export interface Renewed {
  /** By the upstream's clock. */
  readonly nativeExpiresAt?: Date;
}

/** A page of what is to be listed. */
export interface ListContext<IntegrationSettings extends object> extends Omit<
  LeaseContext<IntegrationSettings>,
  'leaseId'
> {
  /** Only what was made for a lease whose id ends with it: another installation's things are not ours to see. */
  readonly mark: string;
  /** Lease ids above this one. */
  readonly after?: string;
  readonly limit: number;
}

export type InspectOutcome = OutputOf<typeof bus.minting.inspectAtProvider>['outcome'];
export type RevokeOutcome = Exclude<OutputOf<typeof bus.minting.revokeAtProvider>['outcome'], 'under_way'>;
/** `access_ended` comes with the handle that `cleanUp` takes. */
export type ReconcileOutcome =
  | {
      readonly outcome: Exclude<
        OutputOf<typeof bus.minting.reconcileAtProvider>['outcome'],
        'under_way' | 'access_ended'
      >;
    }
  | { readonly outcome: 'access_ended'; readonly handle: JsonObject };

/** All calls throw ProviderRejected or ProviderUnavailable, typed from the vendor's codes. */
export interface Provider<
  IntegrationSettings extends object = object,
  CredentialSettings extends object = object,
  Scope extends object = object,
> {
  readonly definition: ProviderDefinition<IntegrationSettings, CredentialSettings, Scope>;
  mint(context: MintContext<IntegrationSettings, CredentialSettings, Scope>): Promise<Minted>;
  /**
   * Ends access: afterwards there is no login and no session. It waits for nothing that the lease, another lease or a stranger
   * controls, and so it may leave things behind (`access_ended`), which `cleanUp` removes. Idempotent: what is gone already is a
   * success.
   */
  revoke(context: RevokeContext<IntegrationSettings>): Promise<RevokeOutcome>;
  /**
   * Removes what a lease whose access has ended left upstream. May be slow, may fail for reasons that the lease made, and holds
   * nothing up. Idempotent. Absent where `revoke` never answers `access_ended`.
   */
  cleanUp?(context: RevokeContext<IntegrationSettings>): Promise<void>;
  /**
   * Lets the same secret work for longer, where the definition says `in_place`; answers with when the upstream then ends it by
   * itself, or `gone` when there is nothing left to prolong. What is being ended must not come back to life.
   */
  renew?(context: RenewContext<IntegrationSettings>): Promise<Renewed | 'gone'>;
  /** Finds by the lease id what a mint without activation left, and removes it. */
  reconcile(context: ReconcileContext<IntegrationSettings, CredentialSettings>): Promise<ReconcileOutcome>;
  /** The lease ids of what is there, ascending, at most `limit`. Absent where what is made has no names. */
  list?(context: ListContext<IntegrationSettings>): Promise<readonly string[]>;
  /** Whether what `mint` made is still there. Absent where nobody can say. */
  inspect?(context: RevokeContext<IntegrationSettings>): Promise<InspectOutcome>;
  /** Lets go of connections, when the service stops. */
  close?(): Promise<void>;
}
