/** What administrators and auditors call. */
import { z } from 'zod';
import { AuditEvent, auditFilters, LeaseLifecycle } from '../bus/audit.ts';
import {
  configVersionsPage,
  listConfigVersions as listConfigVersionsOnBus,
  PreviewedConfig,
} from '../bus/configuration.ts';
import {
  AppliedConfig,
  Block,
  blocksPage,
  ConfigProblem,
  getConfig as getConfigOnBus,
  listBlocks as listBlocksOnBus,
  listSessions as listSessionsOnBus,
  mostBlocks,
  mostSessions,
  newBlock,
  sessionFilters,
} from '../bus/policy.ts';
import {
  AcceptedRevocation,
  getRevocation as getRevocationOnBus,
  listRevocations as listRevocationsOnBus,
  mostRevokedLeases,
  revokedLeasesPage,
} from '../bus/revocation.ts';
import { defineOperation } from '../operation.ts';
import { RevocationSubject, text, Uuid, WellFormed } from '../primitives.ts';

export const revoke = defineOperation({
  name: 'revokeLeases',
  summary: 'End all leases of a subject',
  description:
    'Accepted means durable: whatever crashes afterwards, every lease of the subject that lives now ends, and mints under way for it come to nothing. Ask `GET /v1/revocations/{revocation_id}` how far it is. Asking again is safe: a new revocation of what still lives then, which is also tried at once.',
  http: {
    method: 'POST',
    path: '/v1/revocations',
    status: 202,
    auth: 'session',
    vital: true,
    tag: 'administration',
  },
  input: z.strictObject({ subject: RevocationSubject, reason: text(256) }),
  output: AcceptedRevocation,
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const getRevocation = defineOperation({
  name: 'getRevocation',
  summary: 'How far a revocation is, with a page of its leases',
  http: {
    method: 'GET',
    path: '/v1/revocations/{revocation_id}',
    status: 200,
    auth: 'session',
    tag: 'administration',
  },
  input: z.strictObject({
    revocation_id: Uuid,
    ...revokedLeasesPage,
    limit: z.coerce.number().int().min(0).max(mostRevokedLeases).default(100),
  }),
  output: getRevocationOnBus.output,
  errors: ['unauthenticated', 'policy_denied', 'not_found', 'rate_limited'],
});

export const listRevocations = defineOperation({
  name: 'listRevocations',
  summary: 'Revocations of the organization, newest first',
  http: { method: 'GET', path: '/v1/revocations', status: 200, auth: 'session', tag: 'administration' },
  input: z.strictObject({
    after: Uuid.optional(),
    limit: z.coerce.number().int().min(1).max(100).default(20),
  }),
  output: listRevocationsOnBus.output,
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const addBlock = defineOperation({
  name: 'addBlock',
  summary: 'Block a subject',
  description:
    'Once it is answered, no lease is issued or renewed for the subject, not even one whose mint was under way, until the block is removed or its time is over. The leases that it has go on unless `revoke` is set: then they end as by `POST /v1/revocations`. A subject that is blocked already keeps its block, which lasts at least as long as before.',
  http: {
    method: 'POST',
    path: '/v1/blocks',
    status: 201,
    auth: 'session',
    vital: true,
    tag: 'administration',
  },
  input: z.strictObject({ ...newBlock, revoke: z.boolean().default(false) }),
  output: z.strictObject({ block: Block, revocation: AcceptedRevocation.optional() }),
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const removeBlock = defineOperation({
  name: 'removeBlock',
  summary: 'Remove a block',
  http: {
    method: 'DELETE',
    path: '/v1/blocks/{block_id}',
    status: 200,
    auth: 'session',
    tag: 'administration',
  },
  input: z.strictObject({ block_id: Uuid }),
  output: z.strictObject({ block: Block }),
  errors: ['unauthenticated', 'policy_denied', 'not_found', 'rate_limited'],
});

export const listBlocks = defineOperation({
  name: 'listBlocks',
  summary: 'Blocks of the organization, newest first',
  http: { method: 'GET', path: '/v1/blocks', status: 200, auth: 'session', tag: 'administration' },
  input: z.strictObject({
    ...blocksPage,
    limit: z.coerce.number().int().min(1).max(mostBlocks).default(100),
  }),
  output: listBlocksOnBus.output,
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const listSessions = defineOperation({
  name: 'listSessions',
  summary: 'Live sessions of the organization, newest first',
  http: { method: 'GET', path: '/v1/sessions', status: 200, auth: 'session', tag: 'administration' },
  input: z.strictObject({
    ...sessionFilters,
    limit: z.coerce.number().int().min(1).max(mostSessions).default(100),
  }),
  output: listSessionsOnBus.output,
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const closeSession = defineOperation({
  name: 'closeSession',
  summary: 'End a session of the organization, with its leases',
  description:
    'Of an agent or of a person. Once it is answered, its token is good for nothing and its leases end. A session that has ended already is found too, and its leases are ended again.',
  http: {
    method: 'POST',
    path: '/v1/sessions/{session_id}/close',
    status: 200,
    auth: 'session',
    vital: true,
    tag: 'administration',
  },
  input: z.strictObject({ session_id: Uuid, reason: text(256) }),
  output: z.strictObject({
    session_id: Uuid,
    closed: z.boolean().describe('Whether it has ended by this call; otherwise it had ended before'),
    matched: z.int().min(0).describe('How many leases end with it'),
  }),
  errors: ['unauthenticated', 'policy_denied', 'not_found', 'rate_limited'],
});

export const putConfig = defineOperation({
  name: 'applyConfig',
  summary: 'Replace the configuration document',
  description:
    'The whole document is validated; a document with any mistake is rejected with every place named, and the running configuration stays. One that no longer admits who applies it is refused with `conflict`, unless `lock_me_out` is set. With `dry_run` nothing is applied: the answer tells what would change, and for whom. What the document removes is revoked: the answer names the revocations, which are durable with the document; `GET /v1/revocations/{revocation_id}` tells how far each is.',
  http: { method: 'PUT', path: '/v1/config', status: 200, auth: 'session', tag: 'administration' },
  input: z.strictObject({
    document: WellFormed.max(786_432).describe('mayfly.yaml'),
    expected_version: z.int().min(0).optional(),
    end_leases: z
      .boolean()
      .default(false)
      .describe(
        'Remove also integrations and credentials that have live leases, which then end; without it such a document is refused with `conflict`',
      ),
    lock_me_out: z
      .boolean()
      .optional()
      .describe('Apply even a document that no longer admits you as a platform administrator'),
    dry_run: z.boolean().optional().describe('Tell what it would change, and change nothing'),
  }),
  output: z.discriminatedUnion('outcome', [
    AppliedConfig,
    PreviewedConfig,
    z.strictObject({ outcome: z.literal('rejected'), problems: z.array(ConfigProblem) }),
  ]),
  errors: ['unauthenticated', 'policy_denied', 'conflict', 'rate_limited'],
});

export const getConfig = defineOperation({
  name: 'getConfig',
  summary: 'The running configuration document, or an earlier version',
  http: { method: 'GET', path: '/v1/config', status: 200, auth: 'session', tag: 'administration' },
  input: z.strictObject({
    version: z.coerce
      .number()
      .int()
      .min(1)
      .max(2_147_483_647)
      .optional()
      .describe('Without it: the running one'),
  }),
  output: getConfigOnBus.output,
  errors: ['unauthenticated', 'policy_denied', 'not_found', 'rate_limited'],
});

export const listConfigVersions = defineOperation({
  name: 'listConfigVersions',
  summary: 'Every applied version of the configuration document, newest first',
  http: { method: 'GET', path: '/v1/config/versions', status: 200, auth: 'session', tag: 'administration' },
  input: z.strictObject(configVersionsPage),
  output: listConfigVersionsOnBus.output,
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const queryAudit = defineOperation({
  name: 'queryAuditEvents',
  summary: 'Audit events of the organization',
  http: { method: 'GET', path: '/v1/audit/events', status: 200, auth: 'session', tag: 'audit' },
  input: z.strictObject({
    ...auditFilters,
    after: z.coerce.number().int().min(0).optional(),
    limit: z.coerce.number().int().min(1).max(1000).default(100),
  }),
  output: z.strictObject({ events: z.array(AuditEvent), next: z.int().optional() }),
  errors: ['unauthenticated', 'policy_denied', 'rate_limited'],
});

export const auditLease = defineOperation({
  name: 'leaseTimeline',
  summary: "A lease's whole life",
  http: { method: 'GET', path: '/v1/audit/leases/{lease_id}', status: 200, auth: 'session', tag: 'audit' },
  input: z.strictObject({ lease_id: Uuid }),
  output: z.strictObject({ lease: LeaseLifecycle, events: z.array(AuditEvent) }),
  errors: ['unauthenticated', 'policy_denied', 'not_found', 'rate_limited'],
});
