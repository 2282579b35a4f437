/** What revocation, the lease register, answers over the bus. */
import { z } from 'zod';
import { defineOperation } from '../operation.ts';
import {
  AgentId,
  CredentialName,
  Fingerprint,
  Instant,
  JsonObject,
  LeaseState,
  Name,
  Revocability,
  Sealed,
  Seconds,
  Signed,
  text,
  TraceId,
  Traceparent,
  UseKeys,
  Uuid,
} from '../primitives.ts';

export const activate = defineOperation({
  name: 'revocation.activate',
  summary: 'The commit point of a mint: no credential is released before this has answered.',
  bus: { service: 'revocation', operation: 'activate', callers: ['minting'], timeoutMs: 5_000 },
  input: z.strictObject({
    /** Verified here too: the lease's facts come from policy's signature, not from minting's word. */
    grant: Signed,
    /** What revoking needs, sealed by minting for itself. Opaque here. */
    handle: Sealed,
    /** The issuance span; the lease's trace for life. */
    issuance_traceparent: Traceparent,
    native_expires_at: Instant.optional(),
    revocability: Revocability,
    renewable: z.boolean(),
    fingerprints: z.array(Fingerprint).max(16),
    use_keys: UseKeys,
    /** Of this redemption of the grant, random: what `abandon` may undo. */
    mint_id: Uuid,
  }),
  output: z.strictObject({ issued_at: Instant, expires_at: Instant }),
  errors: ['unauthenticated', 'lease_ended', 'conflict'],
});

export const abandon = defineOperation({
  name: 'revocation.abandon',
  summary: 'Says that a mint released nothing. Ends the lease in whatever state it is.',
  bus: { service: 'revocation', operation: 'abandon', callers: ['minting'], timeoutMs: 5_000 },
  input: z.strictObject({
    grant: Signed,
    issuance_traceparent: Traceparent,
    /** Code of the failure, for events; never upstream text. */
    reason: text(256),
    /** `done`: nothing is left upstream. `pending`: something may be; revocation has it removed, by name or by the handle. */
    cleanup: z.enum(['done', 'pending']),
    handle: Sealed.optional(),
    /** As at `activate`: a lease that another redemption of the grant has made active stays. */
    mint_id: Uuid,
  }),
  output: z.strictObject({}),
  errors: ['unauthenticated'],
});

/** A lease as its holder and administrators see it. Never the secret, never the handle. */
export const LeaseView = z.strictObject({
  lease_id: Uuid,
  state: LeaseState,
  credential: CredentialName,
  provider: Name,
  agent_id: AgentId,
  session_id: Uuid,
  user: z.string().optional(),
  task: z.string().optional(),
  scope: JsonObject,
  ttl_seconds: Seconds,
  issued_at: Instant.optional(),
  expires_at: Instant.optional(),
  native_expires_at: Instant.optional(),
  ended_at: Instant.optional(),
  end_reason: z.string().optional(),
  revocability: Revocability.optional(),
  renewable: z.boolean(),
  trace_id: TraceId,
});
export type LeaseView = z.infer<typeof LeaseView>;

export const listLeases = defineOperation({
  name: 'revocation.list-leases',
  summary: "The asking agent's own leases, newest first; an administrator sees the organization's.",
  bus: { service: 'revocation', operation: 'list-leases', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    assertion: Signed,
    /** Which: those that may still work (default) or all. */
    state: z.enum(['live', 'all']).default('live'),
    after: Uuid.optional().describe('Keyset: the last lease id of the page before'),
    limit: z.int().min(1).max(500).default(100),
  }),
  output: z.strictObject({ leases: z.array(LeaseView), next: Uuid.optional() }),
  errors: ['unauthenticated', 'policy_denied'],
});

export const getLease = defineOperation({
  name: 'revocation.get-lease',
  summary: 'One lease of the asking agent, or of the organization for an administrator.',
  bus: { service: 'revocation', operation: 'get-lease', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({ assertion: Signed }),
  output: LeaseView,
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

/** What an end asked for means for one lease, told honestly. */
export const EndOutcome = z.strictObject({
  lease_id: Uuid,
  outcome: z.enum(['revoked', 'ending', 'eventual', 'expiry_only', 'already_ended']),
  /** For `eventual` and `expiry_only`: by when it is certain to be dead. */
  by: Instant.optional(),
});
export type EndOutcome = z.infer<typeof EndOutcome>;

export const endLease = defineOperation({
  name: 'revocation.end-lease',
  summary: 'Gives one lease back: a fence first, then the end, tried at once and then for ever.',
  bus: { service: 'revocation', operation: 'end-lease', callers: ['gateway'], timeoutMs: 30_000 },
  input: z.strictObject({ assertion: Signed }),
  output: EndOutcome,
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

export const revoke = defineOperation({
  name: 'revocation.revoke',
  summary: 'Ends all leases of a subject, including those whose mint is under way. Accepted means durable.',
  bus: { service: 'revocation', operation: 'revoke', callers: ['gateway'], timeoutMs: 30_000 },
  input: z.strictObject({ assertion: Signed }),
  output: z.strictObject({
    /** How many leases it ends. */
    matched: z.int().min(0),
    /** The first 1,000, each with what the end means for it. */
    leases: z.array(EndOutcome).max(1000),
  }),
  errors: ['unauthenticated', 'policy_denied'],
});

export const reportUse = defineOperation({
  name: 'revocation.report-use',
  summary: 'Records that a lease was used, in its trace.',
  bus: { service: 'revocation', operation: 'report-use', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    assertion: Signed,
    action: text(256).describe('What was done, in the words of the agent').optional(),
    outcome: z.enum(['success', 'failure']).default('success'),
  }),
  output: z.strictObject({}),
  errors: ['unauthenticated', 'policy_denied', 'not_found', 'lease_ended'],
});

export const leaseStatus = defineOperation({
  name: 'revocation.lease-status',
  summary: 'Whether a lease of the asking organization still lives; for introspection by tools.',
  bus: { service: 'revocation', operation: 'lease-status', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({ assertion: Signed, lease_id: Uuid }),
  output: z.strictObject({ live: z.boolean() }),
  errors: ['unauthenticated', 'policy_denied'],
});
