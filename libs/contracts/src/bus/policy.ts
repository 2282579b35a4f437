/** What policy answers over the bus. */
import { z } from 'zod';
import { ErrorCodeSchema } from '../errors.ts';
import { defineOperation } from '../operation.ts';
import {
  AgentId,
  BlockSubject,
  CredentialName,
  HeartbeatSeconds,
  Instant,
  JsonObject,
  LeaseMark,
  Name,
  OrganizationId,
  PersonRole,
  RecipientKey,
  Renewal,
  Revocability,
  Seconds,
  Sealed,
  Signed,
  SourceIp,
  text,
  User,
  Uuid,
  WellFormed,
} from '../primitives.ts';
import { AskedAct } from '../tokens/assertion.ts';
import { PreviewedConfig } from './configuration.ts';

export { listConfigVersions } from './configuration.ts';

/** A bearer token on its way to policy: compact JWE to policy's sealing key, because the bus never carries a token in the clear. */
const SealedToken = Sealed.describe('JWE to the sealing key of policy; the payload is the raw token');

/** Public half of a one-time key of the gateway; secrets meant for the HTTP answer are sealed to it. */
const ReplyKey = RecipientKey;

const TtlAdjusted = z.strictObject({ requested_seconds: z.int(), reason: text(200) });

export const exchangeToken = defineOperation({
  name: 'policy.exchange-token',
  summary: 'Verifies a platform identity by the trust rules and opens a session.',
  bus: { service: 'policy', operation: 'exchange-token', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({
    subject_token: SealedToken,
    subject_token_type: text(256),
    /** The session's secrets will be sealed to it; without one they pass through a one-time key of the gateway. */
    recipient_key: RecipientKey.optional(),
    /** End the session, with its leases, when it goes unheard for longer. */
    heartbeat_seconds: HeartbeatSeconds.optional(),
    reply_key: ReplyKey,
    source_ip: SourceIp,
  }),
  output: z.strictObject({
    /** JWE to `reply_key`; the payload is the session token. */
    access_token: Sealed,
    expires_in: Seconds,
    session_id: Uuid,
  }),
  errors: ['unauthenticated', 'policy_denied', 'limit_exceeded'],
});

export const heartbeat = defineOperation({
  name: 'policy.heartbeat',
  summary: 'Says that a session is alive, as any other call in its name does.',
  bus: { service: 'policy', operation: 'heartbeat', callers: ['gateway'], timeoutMs: 5_000, vital: true },
  input: z.strictObject({ token: SealedToken, source_ip: SourceIp }),
  output: z.strictObject({}),
  errors: ['unauthenticated'],
});

export const endSession = defineOperation({
  name: 'policy.end-session',
  summary: 'Ends a session (RFC 7009) and answers with the assertion by which revocation ends its leases.',
  bus: { service: 'policy', operation: 'end-session', callers: ['gateway'], timeoutMs: 5_000, vital: true },
  input: z.strictObject({ token: SealedToken, source_ip: SourceIp }),
  /** Absent when the token is invalid: RFC 7009 §2.2 answers 200 all the same. */
  output: z.strictObject({ assertion: Signed.optional() }),
  errors: [],
});

/** A session as administrators see it. Never its token. */
export const SessionView = z.strictObject({
  session_id: Uuid,
  kind: z.enum(['agent', 'person']),
  agent_id: AgentId,
  agent_role: Name.optional(),
  person_roles: z.array(PersonRole),
  user: User.optional(),
  task: z.string().optional(),
  trust_rule: z.string(),
  opened_at: Instant,
  expires_at: Instant,
});
export type SessionView = z.infer<typeof SessionView>;

/** Most sessions in a page: it fits into a message of the bus (1 MiB). */
export const mostSessions = 200;

/** Which sessions; all that are given must match. */
export const sessionFilters = {
  kind: z.enum(['agent', 'person']).optional(),
  user: User.optional(),
  agent_id: AgentId.optional(),
  after: Uuid.optional().describe('Keyset: the last session id of the page before'),
};

export const listSessions = defineOperation({
  name: 'policy.list-sessions',
  summary: 'Live sessions of the asking organization, of agents and of people, newest first.',
  bus: { service: 'policy', operation: 'list-sessions', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    token: SealedToken,
    ...sessionFilters,
    limit: z.int().min(1).max(mostSessions).default(100),
    source_ip: SourceIp,
  }),
  output: z.strictObject({ sessions: z.array(SessionView), next: Uuid.optional() }),
  errors: ['unauthenticated', 'policy_denied'],
});

export const closeSession = defineOperation({
  name: 'policy.close-session',
  summary: "Ends a session of the asking administrator's organization, of an agent or of a person.",
  bus: {
    service: 'policy',
    operation: 'close-session',
    callers: ['gateway'],
    timeoutMs: 5_000,
    vital: true,
  },
  input: z.strictObject({
    token: SealedToken,
    session_id: Uuid,
    reason: text(256),
    source_ip: SourceIp,
  }),
  output: z.strictObject({
    session_id: Uuid,
    /** False when it had ended before. */
    closed: z.boolean(),
    /** By which revocation ends its leases. The event of the closed session orders the same. */
    assertion: Signed,
  }),
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

export const decide = defineOperation({
  name: 'policy.decide',
  summary: 'Decides on a request for a credential; an allowed one gets a grant.',
  bus: { service: 'policy', operation: 'decide', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    token: SealedToken,
    credential: text(256),
    ttl_seconds: z.int().min(1).max(31_536_000).optional(),
    scope: JsonObject.optional(),
    claimed_task: text(256).optional(),
    justification: text(1024).optional(),
    /** `Idempotency-Key` of the request and the SHA-256 of its body, hex. */
    idempotency: z.strictObject({ key: text(255), body_sha256: z.string().length(64) }).optional(),
    reply_key: ReplyKey,
    source_ip: SourceIp,
  }),
  output: z.discriminatedUnion('decision', [
    z.strictObject({
      decision: z.literal('allow'),
      lease_id: Uuid,
      grant: Signed,
      /** Whether the secret is sealed to the session's own key (`session`) or to the gateway's one-time key (`gateway`). */
      recipient: z.enum(['session', 'gateway']),
      /** Present when the TTL was cut, with why. */
      ttl_adjusted: TtlAdjusted.optional(),
      /** Assertion with which the gateway ends this lease if its client is gone before the answer. */
      give_back: Signed,
      /** The lease that a repeated `Idempotency-Key` replaces, with the assertion to end it. */
      supersedes: z.strictObject({ lease_id: Uuid, assertion: Signed }).optional(),
    }),
    z.strictObject({ decision: z.literal('deny'), code: ErrorCodeSchema, reason: text(500) }),
    z.strictObject({ decision: z.literal('pending'), request_id: Uuid }),
  ]),
  errors: ['unauthenticated', 'conflict'],
});

export const releaseReservation = defineOperation({
  name: 'policy.release-reservation',
  summary: 'Gives back the place within the limits that a grant holds which came to nothing.',
  bus: { service: 'policy', operation: 'release-reservation', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({ grant: Signed }),
  /** `begun`: the lease register knows the lease; its place is free when it has ended. */
  output: z.strictObject({ outcome: z.enum(['released', 'begun']) }),
  errors: ['unauthenticated'],
});

export const decideRenewal = defineOperation({
  name: 'policy.decide-renewal',
  summary: "Decides on the renewal of one of the agent's own leases, by the configuration as it is now.",
  bus: { service: 'policy', operation: 'decide-renewal', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    token: SealedToken,
    lease_id: Uuid,
    ttl_seconds: z.int().min(1).max(31_536_000).optional(),
    reply_key: ReplyKey,
    source_ip: SourceIp,
  }),
  output: z.discriminatedUnion('decision', [
    z.strictObject({
      decision: z.literal('rotate'),
      /** The successor. */
      lease_id: Uuid,
      grant: Signed,
      recipient: z.enum(['session', 'gateway']),
      ttl_adjusted: TtlAdjusted.optional(),
      give_back: Signed,
      /** Renewals altogether, this one included. */
      renewals: z.int().min(1),
    }),
    z.strictObject({
      decision: z.literal('extend'),
      /** Permission to let the lease live longer, for revocation and minting. */
      grant: Signed,
      ttl_adjusted: TtlAdjusted.optional(),
    }),
    z.strictObject({ decision: z.literal('deny'), code: ErrorCodeSchema, reason: text(500) }),
  ]),
  errors: ['unauthenticated', 'not_found', 'lease_ended', 'conflict'],
});

export const authorize = defineOperation({
  name: 'policy.authorize',
  summary: 'Answers with a signed assertion of who asks for what, for a call that another service answers.',
  // Vital, because every end that somebody asks for begins with it.
  bus: { service: 'policy', operation: 'authorize', callers: ['gateway'], timeoutMs: 5_000, vital: true },
  input: z.strictObject({ token: SealedToken, act: AskedAct, source_ip: SourceIp }),
  output: z.strictObject({ assertion: Signed }),
  errors: ['unauthenticated', 'policy_denied'],
});

/** A credential as an agent sees it before asking. */
export const CredentialListing = z.strictObject({
  credential: CredentialName,
  provider: Name,
  description: text(1024).optional(),
  scope: JsonObject.describe('The widest scope that may be asked for, in the form of the provider'),
  ttl: z.strictObject({ default_seconds: Seconds, max_seconds: Seconds }),
  /** The shortest life that the upstream can give by itself, where it has one. */
  native_minimum_seconds: z.int().min(1).optional(),
  limits: z.strictObject({ per_session: z.int().min(1).optional(), concurrent: z.int().min(1).optional() }),
  revocability: Revocability,
  renewable: z.boolean(),
  /** Present when it is renewable. */
  renewal: Renewal.optional(),
  writes: z.boolean().describe('Whether the scope lets its holder change anything; derived by the provider'),
  approval: z.enum(['required', 'off']),
});
export type CredentialListing = z.infer<typeof CredentialListing>;

export const listCredentials = defineOperation({
  name: 'policy.list-credentials',
  summary: 'Lists what this session may ask for.',
  bus: { service: 'policy', operation: 'list-credentials', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({ token: SealedToken, source_ip: SourceIp }),
  output: z.strictObject({ credentials: z.array(CredentialListing) }),
  errors: ['unauthenticated'],
});

/** Where a configuration document is wrong, in words that name the place. */
export const ConfigProblem = z.strictObject({
  /** JSON-pointer-like path: `credentials[0].ttl.max`. */
  path: z.string(),
  /** 1-based; absent where the document is not YAML at all. */
  line: z.int().min(1).optional(),
  column: z.int().min(1).optional(),
  message: z.string(),
});
export type ConfigProblem = z.infer<typeof ConfigProblem>;

/** A revocation of what a document has removed: durable with the document. */
export const RemovalOrder = z.strictObject({
  organization: OrganizationId,
  subject: BlockSubject.describe('A `credential`, or an `integration` that is gone as a whole'),
  revocation_id: Uuid.describe('Where its leases are found; it may be there a moment after this answer'),
});
export type RemovalOrder = z.infer<typeof RemovalOrder>;

/** What an applied document answers, here and over HTTP. */
export const AppliedConfig = z.strictObject({
  outcome: z.literal('applied'),
  version: z.int().min(1),
  unchanged: z.boolean(),
  revocations: z
    .array(RemovalOrder)
    .max(100)
    .describe(
      'Ordered with the document, one for each credential or whole integration that it removes; the first 100',
    ),
  revocations_total: z.int().min(0).describe('How many were ordered in all'),
  sessions_ended: z
    .int()
    .min(0)
    .describe('Sessions that the document no longer admits, which have ended with it; their leases end too'),
});

export const applyConfig = defineOperation({
  name: 'policy.apply-config',
  summary:
    'Validates a whole configuration document and makes it the running version, or leaves all as it is.',
  bus: { service: 'policy', operation: 'apply-config', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({
    token: SealedToken,
    document: WellFormed.max(786_432),
    /** Refuse with `conflict` unless this is the running version. */
    expected_version: z.int().min(0).optional(),
    /** Remove also what has live leases, which then end; without it, such a document is refused. */
    end_leases: z.boolean().default(false),
    /** Apply even what no longer admits who applies it; without it, such a document is refused. */
    lock_me_out: z.boolean().optional(),
    /** Tell what it would change, and change nothing. */
    dry_run: z.boolean().optional(),
    source_ip: SourceIp,
  }),
  output: z.discriminatedUnion('outcome', [
    AppliedConfig,
    PreviewedConfig,
    z.strictObject({ outcome: z.literal('rejected'), problems: z.array(ConfigProblem).max(100) }),
  ]),
  errors: ['unauthenticated', 'policy_denied', 'conflict'],
});

export const getConfig = defineOperation({
  name: 'policy.get-config',
  summary: 'The running configuration document and its version, or an earlier one.',
  bus: { service: 'policy', operation: 'get-config', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    token: SealedToken,
    version: z.int().min(1).max(2_147_483_647).optional(),
    source_ip: SourceIp,
  }),
  output: z.strictObject({
    version: z.int().min(0),
    document: z.string(),
    applied_at: Instant.optional(),
    applied_by: z.string().optional(),
    applied_from: z.string().optional(),
  }),
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

export const orderReconciliation = defineOperation({
  name: 'policy.order-reconciliation',
  summary: 'Signs the order to remove what a lease without activation may have left upstream.',
  bus: {
    service: 'policy',
    operation: 'order-reconciliation',
    callers: ['revocation'],
    timeoutMs: 5_000,
    vital: true,
  },
  input: z.strictObject({
    lease_id: Uuid,
    organization: OrganizationId,
    credential: CredentialName,
    config_version: z.int().min(1),
  }),
  output: z.strictObject({ order: Signed }),
  errors: ['not_found'],
});

/** A block: no new lease, and no renewal, for its subject until it is removed or its time is over. */
export const Block = z.strictObject({
  block_id: Uuid,
  subject: BlockSubject,
  reason: z.string(),
  added_by: AgentId,
  added_at: Instant,
  /** Without it: until it is removed. */
  until: Instant.optional(),
});
export type Block = z.infer<typeof Block>;

/** What a new block is made of. */
export const newBlock = {
  subject: BlockSubject,
  reason: text(256),
  for_seconds: z.int().min(1).max(31_536_000).optional().describe('Without it: until it is removed'),
};

export const addBlock = defineOperation({
  name: 'policy.add-block',
  summary: 'Blocks a subject. What is blocked already stays so at least as long as before.',
  bus: { service: 'policy', operation: 'add-block', callers: ['gateway'], timeoutMs: 5_000, vital: true },
  input: z.strictObject({
    token: SealedToken,
    ...newBlock,
    /** Whether the leases that it has are to end too. */
    revoke: z.boolean(),
    source_ip: SourceIp,
  }),
  output: z.strictObject({
    block: Block,
    /** For `revoke`, or else for `fence`: what was decided before the block must come to nothing as well. The event of the block orders the same. */
    assertion: Signed,
  }),
  errors: ['unauthenticated', 'policy_denied'],
});

export const removeBlock = defineOperation({
  name: 'policy.remove-block',
  summary: 'Removes a block of the asking organization.',
  bus: { service: 'policy', operation: 'remove-block', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({ token: SealedToken, block_id: Uuid, source_ip: SourceIp }),
  output: z.strictObject({ block: Block }),
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});

/** Most blocks in a page: it fits into a message of the bus (1 MiB). */
export const mostBlocks = 200;

/** A page of blocks. */
export const blocksPage = {
  after: Uuid.optional().describe('Keyset: the last block id of the page before'),
};

export const listBlocks = defineOperation({
  name: 'policy.list-blocks',
  summary: 'Blocks of the asking organization, newest first.',
  bus: { service: 'policy', operation: 'list-blocks', callers: ['gateway'], timeoutMs: 5_000 },
  input: z.strictObject({
    token: SealedToken,
    ...blocksPage,
    limit: z.int().min(1).max(mostBlocks).default(100),
    source_ip: SourceIp,
  }),
  output: z.strictObject({ blocks: z.array(Block), next: Uuid.optional() }),
  errors: ['unauthenticated', 'policy_denied'],
});

export const orderSweeps = defineOperation({
  name: 'policy.order-sweeps',
  summary: 'Signs an order for each configured integration to list what Mayfly has made there, page by page.',
  bus: { service: 'policy', operation: 'order-sweeps', callers: ['revocation'], timeoutMs: 5_000 },
  input: z.strictObject({ after: text(512).optional() }),
  output: z.strictObject({
    config_version: z.int().min(1),
    sweeps: z
      .array(
        z.strictObject({
          organization: OrganizationId,
          integration: Name,
          provider: Name,
          mark: LeaseMark,
          order: Signed,
        }),
      )
      .max(50),
    /** For the page after this one. */
    next: text(512).optional(),
  }),
  errors: [],
});
