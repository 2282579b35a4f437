/** What revocation, the lease register, answers over the bus. */
import { z } from 'zod';
import { recoveryActor } from '../events/order.ts';
import { defineOperation } from '../operation.ts';
import {
  AgentId,
  CredentialName,
  Fingerprint,
  Instant,
  JsonObject,
  LeaseState,
  Name,
  OrganizationId,
  Revocability,
  Sealed,
  Seconds,
  Signed,
  subjectKinds,
  text,
  TraceId,
  Traceparent,
  UseKeys,
  Uuid,
} from '../primitives.ts';

export const activate = defineOperation({
  name: 'revocation.activate',
  summary: 'The commit point of a mint: no credential is released before this has answered.',
  bus: { service: 'revocation', operation: 'activate', callers: ['minting'], timeoutMs: 5_000, vital: true },
  input: z.strictObject({
    /** Verified here too: the lease's facts come from policy's signature, not from minting's word. */
    grant: Signed,
    /** What revoking needs, sealed by minting for itself. Opaque here. */
    handle: Sealed,
    /** The issuance span; the lease's trace for life. */
    issuance_traceparent: Traceparent,
    native_expires_at: Instant.optional(),
    revocability: Revocability,
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
  bus: { service: 'revocation', operation: 'abandon', callers: ['minting'], timeoutMs: 5_000, vital: true },
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

export const cancelGrant = defineOperation({
  name: 'revocation.cancel-grant',
  summary: 'Makes sure that a grant that came to nothing can never become a lease.',
  bus: {
    service: 'revocation',
    operation: 'cancel-grant',
    callers: ['policy'],
    timeoutMs: 5_000,
    vital: true,
  },
  input: z.strictObject({ grant: Signed }),
  /** `begun`: the register knows the lease, and its events tell what becomes of it. */
  output: z.strictObject({ outcome: z.enum(['cancelled', 'begun']) }),
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
  /** Present while something that it made upstream is still to be removed. Its access has ended: it can do nothing any more. */
  cleanup: z.literal('pending').optional(),
  /** Present while its end, or the clean-up after it, fails and is tried again; in the list of what fails also while it is overdue. */
  failing: z
    .strictObject({
      attempts: z.int().describe('How often it was tried, an attempt in hand included'),
      last_error: text(64)
        .optional()
        .describe('Code of the error table, never text of the upstream; absent while no attempt has failed'),
      next_attempt_at: Instant.describe('In the past when it should have been tried by now'),
    })
    .optional(),
  revocability: Revocability.optional(),
  renewable: z.boolean(),
  /** How often it has been renewed. */
  renewals: z.int().min(0),
  last_renewed_at: Instant.optional(),
  predecessor_id: Uuid.optional(),
  successor_id: Uuid.optional(),
  trace_id: TraceId,
});
export type LeaseView = z.infer<typeof LeaseView>;

export const listLeases = defineOperation({
  name: 'revocation.list-leases',
  summary: "The asking agent's own leases, newest first; an administrator sees the organization's.",
  bus: { service: 'revocation', operation: 'list-leases', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    assertion: Signed,
    /** Which: those that may still work (default), all, or those whose end or clean-up fails and is tried again, or is overdue. */
    state: z.enum(['live', 'all', 'failing']).default('live'),
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

export const renewLease = defineOperation({
  name: 'revocation.renew',
  summary: 'Lets a lease live longer with the same secret: at its provider first, and then in one commit.',
  bus: { service: 'revocation', operation: 'renew', callers: ['gateway'], timeoutMs: 30_000 },
  input: z.strictObject({ grant: Signed }),
  output: z.strictObject({
    lease_id: Uuid,
    credential: CredentialName,
    provider: Name,
    issued_at: Instant,
    expires_at: Instant,
    native_expires_at: Instant.optional(),
    /** From the renewal to the new end. */
    ttl_seconds: z.int(),
    scope: JsonObject,
    revocability: Revocability,
    /** How often it has been renewed, this time included. */
    renewals: z.int().min(1),
    trace_id: TraceId,
  }),
  errors: [
    'unauthenticated',
    'policy_denied',
    'ttl_exceeded',
    'lease_ended',
    'not_found',
    'conflict',
    'provider_rejected',
    'provider_unavailable',
  ],
});

/** Most leases that are asked about at once. */
export const mostAskedLeases = 500;

export const endedLeases = defineOperation({
  name: 'revocation.ended-leases',
  summary: 'Which of these leases have ended, for when the events that told of it were lost.',
  bus: { service: 'revocation', operation: 'ended-leases', callers: ['policy'], timeoutMs: 5_000 },
  /** Issued leases only: one that was never heard of here counts as ended. */
  input: z.strictObject({ lease_ids: z.array(Uuid).min(1).max(mostAskedLeases) }),
  /** Some of those asked for; tells nothing else. */
  output: z.strictObject({ ended: z.array(Uuid).max(mostAskedLeases) }),
  errors: [],
});

export const pendingCleanUps = defineOperation({
  name: 'revocation.pending-cleanups',
  summary:
    'Of which of these leases something is still to be removed, for when the events that told of it were lost.',
  bus: { service: 'revocation', operation: 'pending-cleanups', callers: ['policy'], timeoutMs: 5_000 },
  /** Leases whose clean-up has failed: one that is not known here any more has been cleaned up after. */
  input: z.strictObject({ lease_ids: z.array(Uuid).min(1).max(mostAskedLeases) }),
  /** Some of those asked for; tells nothing else. */
  output: z.strictObject({ pending: z.array(Uuid).max(mostAskedLeases) }),
  errors: [],
});

/** What an end asked for means for one lease, told honestly. */
export const EndOutcome = z.strictObject({
  lease_id: Uuid,
  /** `failing`: the upstream would not end it so far; it is tried for ever. */
  outcome: z.enum(['revoked', 'ending', 'failing', 'eventual', 'expiry_only', 'already_ended']),
  /** For `eventual` and `expiry_only`: by when it is certain to be dead. */
  by: Instant.optional(),
});
export type EndOutcome = z.infer<typeof EndOutcome>;

export const endLease = defineOperation({
  name: 'revocation.end-lease',
  summary: 'Gives one lease back: a fence first, then the end, tried at once and then for ever.',
  bus: {
    service: 'revocation',
    operation: 'end-lease',
    callers: ['gateway'],
    timeoutMs: 30_000,
    vital: true,
  },
  input: z.strictObject({ assertion: Signed }),
  output: EndOutcome,
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

export const endSession = defineOperation({
  name: 'revocation.end-session',
  summary: 'Ends all leases of a session that policy has closed, and fences it for ever.',
  bus: {
    service: 'revocation',
    operation: 'end-session',
    callers: ['gateway', 'policy'],
    timeoutMs: 30_000,
    vital: true,
  },
  input: z.strictObject({ assertion: Signed }),
  output: z.strictObject({ matched: z.int().min(0).describe('How many leases it ends') }),
  errors: ['unauthenticated', 'policy_denied'],
});

/** As it was asked for: those of earlier releases may have been named in another form. */
const ToldSubject = z.strictObject({
  kind: z.enum([...subjectKinds, 'everything']),
  id: z.string().optional(),
});

/** A revocation as administrators see it. `revoked` + `pending` + `failing` = `matched`. */
export const RevocationView = z.strictObject({
  revocation_id: Uuid,
  subject: ToldSubject,
  reason: z.string(),
  asked_by: z.union([AgentId, z.literal(recoveryActor)]),
  asked_at: Instant,
  /** `gathering`: its leases are still being found, so the counts grow. `ending`: all are found. `done`: all have ended. */
  status: z.enum(['gathering', 'ending', 'done']),
  done_at: Instant.optional(),
  /** How many leases it found alive. */
  matched: z.int().min(0),
  /** The same by how they can be ended. What is `expiry_only` works until its native expiry for whoever does not ask Mayfly. */
  by_revocability: z.strictObject({
    immediate: z.int().min(0),
    eventual: z.int().min(0),
    expiry_only: z.int().min(0),
  }),
  /** Ended, as far as each can be. */
  revoked: z.int().min(0),
  /** Not ended yet. */
  pending: z.int().min(0),
  /** Not ended yet after several attempts; tried for ever. */
  failing: z.int().min(0),
});
export type RevocationView = z.infer<typeof RevocationView>;

/** One lease of a revocation. */
export const RevokedLease = EndOutcome.extend({
  /** Told for a revocation of everything, whose leases are of several organizations. */
  organization: OrganizationId.optional(),
  credential: CredentialName,
  agent_id: AgentId,
  ended_at: Instant.optional(),
});
export type RevokedLease = z.infer<typeof RevokedLease>;

/** The answer to a revocation. `leases` is there for at most 100 of them, once all are found. */
export const AcceptedRevocation = RevocationView.extend({
  leases: z.array(RevokedLease).max(100).optional(),
});

export const revoke = defineOperation({
  name: 'revocation.revoke',
  summary: 'Ends all leases of a subject, including those whose mint is under way. Accepted means durable.',
  bus: { service: 'revocation', operation: 'revoke', callers: ['gateway'], timeoutMs: 30_000, vital: true },
  input: z.strictObject({ assertion: Signed }),
  output: AcceptedRevocation,
  errors: ['unauthenticated', 'policy_denied'],
});

export const fence = defineOperation({
  name: 'revocation.fence',
  summary: 'Stops mints under way for a subject that has just been blocked; ends nothing.',
  bus: { service: 'revocation', operation: 'fence', callers: ['gateway'], timeoutMs: 10_000, vital: true },
  input: z.strictObject({ assertion: Signed }),
  output: z.strictObject({}),
  errors: ['unauthenticated', 'policy_denied'],
});

/** Most leases in a page: it fits into a message of the bus (1 MiB), however long their agents are called. */
export const mostRevokedLeases = 300;

/** A page of the leases of a revocation. */
export const revokedLeasesPage = {
  leases: z
    .enum(['all', 'ended', 'open'])
    .default('all')
    .describe(
      '`all` in the order of lease ids; `ended` in the order of their ends, whose `next` can be asked for again as more end; `open` those that have not ended',
    ),
  after: text(128).optional().describe('Keyset: `next` of the page before'),
};

export const getRevocation = defineOperation({
  name: 'revocation.get-revocation',
  summary: 'How far a revocation is, with a page of its leases.',
  bus: { service: 'revocation', operation: 'get-revocation', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({
    assertion: Signed,
    ...revokedLeasesPage,
    limit: z.int().min(0).max(mostRevokedLeases).default(100),
  }),
  output: z.strictObject({
    revocation: RevocationView,
    leases: z.array(RevokedLease),
    next: z.string().optional(),
  }),
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

export const listRevocations = defineOperation({
  name: 'revocation.list-revocations',
  summary: 'Revocations of the asking organization, newest first.',
  bus: { service: 'revocation', operation: 'list-revocations', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({
    assertion: Signed,
    after: Uuid.optional().describe('Keyset: the last revocation id of the page before'),
    limit: z.int().min(1).max(100).default(20),
  }),
  output: z.strictObject({ revocations: z.array(RevocationView), next: Uuid.optional() }),
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
