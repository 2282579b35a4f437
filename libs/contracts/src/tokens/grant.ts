/**
 * Policy's signed, single-use permission to mint exactly one lease: Ed25519 JWS, `typ` `mayfly-grant+jwt`, `jti` =
 * lease id, 30 seconds. It carries all that minting needs, so minting keeps no configuration; minting and revocation
 * both verify policy's signature, so neither the gateway nor minting can invent or change a lease.
 */
import { z } from 'zod';
import {
  AgentId,
  CredentialName,
  Instant,
  JsonObject,
  Name,
  OrganizationId,
  RecipientKey,
  Renewal,
  Seconds,
  SourceIp,
  text,
  User,
  Uuid,
} from '../primitives.ts';

/** Whose act it is. In a grant, and copied from there into events and the lease register. */
export const Actor = z.strictObject({
  organization: OrganizationId,
  session_id: Uuid,
  parent_session_id: Uuid.optional(),
  agent_id: AgentId,
  agent_role: Name.optional(),
  user: User.optional(),
  /** From verified claims. */
  task: text(256).optional(),
});
export type Actor = z.infer<typeof Actor>;

export const GrantClaims = z.strictObject({
  /** The lease id, UUIDv7. */
  jti: Uuid,
  /** When policy decided, by Postgres' clock. Fences compare with this; `iat` has whole seconds only. */
  granted_at: Instant,
  actor: Actor,
  /** What the agent says it is doing; never trusted, only recorded. */
  claimed_task: text(256).optional(),
  justification: text(1024).optional(),
  source_ip: SourceIp,
  credential: CredentialName,
  provider: Name,
  /** Resolved integration block of the configuration: the privileged credential by reference, never by value. */
  integration: z.strictObject({
    name: Name,
    settings: JsonObject,
    /** Prefixes of secret references that this organization may use; minting checks again (I5). */
    secret_references: z.array(text(512)).max(64),
  }),
  /** Resolved credential block: the provider's own settings beside the scope, such as custom statements. */
  settings: JsonObject,
  /** The credential's full bounds, for providers that keep something per credential upstream. */
  bounds: JsonObject,
  /** Effective scope: narrowed, final. */
  scope: JsonObject,
  ttl_seconds: Seconds,
  /**
   * When the session ends, by Postgres' clock: no lease outlives it, however long the mint took. Activation counts the TTL from its
   * own moment and cuts there; after it, nothing becomes active.
   */
  session_expires_at: Instant,
  /** Absent where the lease can't be renewed. */
  renewal: Renewal.optional(),
  /** The lease whose place this one takes: it must be alive, and ends `renewal.grace_seconds` after the activation. */
  predecessor: z.strictObject({ lease_id: Uuid, renewals: z.int().min(1) }).optional(),
  /** The secret is sealed to this key and to no other. */
  recipient_key: RecipientKey,
  /** Whose key that is: the session's own, or a one-time key of the gateway. */
  recipient: z.enum(['session', 'gateway']),
  /** Identifies the policies that allowed it. */
  policy_ids: z.array(text(256)).max(64),
  config_version: z.int().min(1),
});
export type GrantClaims = z.infer<typeof GrantClaims>;

/**
 * Policy's signed, single-use permission to let one lease live longer: JWS, `typ` `mayfly-renewal+jwt`, `jti` = id of the
 * renewal, 30 seconds. Revocation and minting both verify it. Each is good once: revocation takes only
 * one that was granted later than the last that it took for the lease.
 */
export const RenewalClaims = z.strictObject({
  /** Id of the renewal, UUIDv7. */
  jti: Uuid,
  lease_id: Uuid,
  /** When policy decided, by Postgres' clock. */
  granted_at: Instant,
  /** The lease must be of this session and organization. */
  actor: Actor,
  /** Who asks: that session or another of the same agent. What fences this one stops the renewal too. */
  asker: Actor.pick({ session_id: true, parent_session_id: true, user: true }),
  source_ip: SourceIp,
  credential: CredentialName,
  provider: Name,
  integration: Name,
  /** From `granted_at` to `expires_at`, in seconds. */
  ttl_seconds: Seconds,
  /** The lease may live until then and no longer. */
  expires_at: Instant,
  /** What cut it short; `ttl` when nothing did. */
  limit: z.enum(['ttl', 'max_life', 'session']),
  /** Counted again by revocation, which knows the lease best. */
  max_life_seconds: Seconds,
  max_count: z.int().min(1).max(1_000),
  policy_ids: z.array(text(256)).max(64),
  config_version: z.int().min(1),
});
export type RenewalClaims = z.infer<typeof RenewalClaims>;
