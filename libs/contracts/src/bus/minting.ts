/** What minting answers over the bus. */
import { z } from 'zod';
import { defineOperation } from '../operation.ts';
import {
  CredentialName,
  Instant,
  JsonObject,
  Name,
  OrganizationId,
  Renewal,
  Revocability,
  Sealed,
  Seconds,
  Signed,
  Uuid,
} from '../primitives.ts';
import { ToolTokenClaims } from '../tokens/tool-token.ts';

export const issue = defineOperation({
  name: 'minting.issue',
  summary: 'Redeems a grant: mints at the provider, commits the activation, answers with the sealed secret.',
  bus: { service: 'minting', operation: 'issue', callers: ['gateway'], timeoutMs: 30_000 },
  input: z.strictObject({ grant: Signed }),
  output: z.strictObject({
    lease_id: Uuid,
    credential: CredentialName,
    provider: Name,
    issued_at: Instant,
    expires_at: Instant,
    native_expires_at: Instant.optional(),
    ttl_seconds: Seconds,
    scope: JsonObject,
    revocability: Revocability,
    renewable: z.boolean(),
    renewal: Renewal.optional(),
    trace_id: z.string(),
    sealed: Sealed,
  }),
  errors: ['unauthenticated', 'conflict', 'lease_ended', 'provider_rejected', 'provider_unavailable'],
});

export const revokeAtProvider = defineOperation({
  name: 'minting.revoke',
  summary:
    'Ends the access that a handle names at the provider. Idempotent: what is already gone is a success.',
  bus: { service: 'minting', operation: 'revoke', callers: ['revocation'], timeoutMs: 25_000, vital: true },
  input: z.strictObject({
    lease_id: Uuid,
    organization: OrganizationId,
    integration: Name,
    provider: Name,
    handle: Sealed,
  }),
  /**
   * `access_ended`: no login and no session is left, and something else is, which `minting.clean-up` removes. `under_way`: the
   * upstream takes longer than the caller waits; asking again joins what is under way.
   */
  output: z.strictObject({
    outcome: z.enum(['revoked', 'access_ended', 'already_gone', 'expiry_only', 'under_way']),
  }),
  errors: ['provider_rejected', 'provider_unavailable'],
});

export const cleanUpAtProvider = defineOperation({
  name: 'minting.clean-up',
  summary: 'Removes what a lease whose access has ended left at the provider. Idempotent, and may be slow.',
  bus: { service: 'minting', operation: 'clean-up', callers: ['revocation'], timeoutMs: 25_000 },
  input: z.strictObject({
    lease_id: Uuid,
    organization: OrganizationId,
    integration: Name,
    provider: Name,
    handle: Sealed,
  }),
  /** `under_way`: as of `minting.revoke`. */
  output: z.strictObject({ outcome: z.enum(['done', 'under_way']) }),
  errors: ['provider_rejected', 'provider_unavailable'],
});

export const renewAtProvider = defineOperation({
  name: 'minting.renew',
  summary: 'Lets what a handle names work for longer at the provider, as far as a renewal grant allows.',
  bus: { service: 'minting', operation: 'renew', callers: ['revocation'], timeoutMs: 25_000 },
  input: z.strictObject({
    grant: Signed,
    handle: Sealed,
    /** From now on, by the upstream's clock. */
    ttl_seconds: Seconds,
    /** What the register has been told already: whatever the upstream's clock says, nothing may work after this. */
    native_not_after: Instant,
  }),
  output: z.strictObject({ native_expires_at: Instant.optional() }),
  errors: ['unauthenticated', 'lease_ended', 'provider_rejected', 'provider_unavailable'],
});

export const reconcileAtProvider = defineOperation({
  name: 'minting.reconcile',
  summary: 'Finds what a lease without activation left upstream, by its name, and removes it.',
  bus: {
    service: 'minting',
    operation: 'reconcile',
    callers: ['revocation'],
    timeoutMs: 25_000,
    vital: true,
  },
  input: z.strictObject({ order: Signed }),
  /**
   * `unreachable`: such a thing has no name to be found by; it died unreleased and lives until its native expiry.
   * `under_way`: as of `minting.revoke`.
   */
  output: z.strictObject({
    outcome: z.enum(['removed', 'access_ended', 'absent', 'unreachable', 'under_way']),
    /** With `access_ended`: names what `minting.clean-up` still has to remove. */
    handle: Sealed.optional(),
  }),
  errors: ['unauthenticated', 'provider_rejected', 'provider_unavailable'],
});

export const listAtProvider = defineOperation({
  name: 'minting.list',
  summary: 'Lists the leases whose things are there upstream, by their names, page by page.',
  bus: { service: 'minting', operation: 'list', callers: ['revocation'], timeoutMs: 25_000 },
  input: z.strictObject({
    order: Signed,
    /** The last lease id of the page before. */
    after: Uuid.optional(),
  }),
  output: z.discriminatedUnion('outcome', [
    /** What this provider makes has no names to be listed by. */
    z.strictObject({ outcome: z.literal('unlistable') }),
    z.strictObject({
      outcome: z.literal('listed'),
      /** Ascending. */
      lease_ids: z.array(Uuid).max(5_000),
      more: z.boolean(),
    }),
  ]),
  errors: ['unauthenticated', 'provider_rejected', 'provider_unavailable'],
});

export const inspectAtProvider = defineOperation({
  name: 'minting.inspect',
  summary: 'Says whether what a handle names is still there upstream.',
  bus: { service: 'minting', operation: 'inspect', callers: ['revocation'], timeoutMs: 25_000 },
  input: z.strictObject({
    lease_id: Uuid,
    organization: OrganizationId,
    integration: Name,
    provider: Name,
    handle: Sealed,
  }),
  output: z.strictObject({ outcome: z.enum(['present', 'absent', 'unknown']) }),
  errors: ['provider_rejected', 'provider_unavailable'],
});

export const toolTokenKeys = defineOperation({
  name: 'minting.tool-token-keys',
  summary: 'The public keys of tool tokens, as a JWK set (RFC 7517 §5).',
  bus: { service: 'minting', operation: 'tool-token-keys', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({}),
  output: z.strictObject({ keys: z.array(z.record(z.string(), z.json())) }),
  errors: [],
});

export const verifyToolToken = defineOperation({
  name: 'minting.verify-tool-token',
  summary:
    'Checks the signature and times of a tool token; whether its lease lives is for revocation to say.',
  bus: { service: 'minting', operation: 'verify-tool-token', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    /** For `introspect`; the token must belong to the same organization. */
    assertion: Signed,
    /** JWE to the sealing key of minting; the payload is the tool token. */
    token: Sealed,
  }),
  output: z.discriminatedUnion('valid', [
    z.strictObject({ valid: z.literal(false) }),
    z.strictObject({
      valid: z.literal(true),
      claims: ToolTokenClaims.extend({ iss: z.string(), aud: z.string(), iat: z.int(), exp: z.int() }),
    }),
  ]),
  errors: ['unauthenticated', 'policy_denied'],
});
