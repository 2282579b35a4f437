/** What agents call: what may be asked for, asking, using, giving back. */
import { z } from 'zod';
import { CredentialListing } from '../bus/policy.ts';
import { EndOutcome, LeaseView } from '../bus/revocation.ts';
import { defineOperation } from '../operation.ts';
import {
  CredentialName,
  Instant,
  JsonObject,
  Name,
  Renewal,
  Revocability,
  Sealed,
  text,
  TraceId,
  Uuid,
} from '../primitives.ts';

export const listCredentials = defineOperation({
  name: 'listCredentials',
  summary: 'What this session may ask for',
  http: { method: 'GET', path: '/v1/credentials', status: 200, auth: 'session', tag: 'credentials' },
  input: z.strictObject({}),
  output: z.strictObject({ credentials: z.array(CredentialListing) }),
  errors: ['unauthenticated', 'rate_limited'],
});

/** The answer to a mint. Just one of `secret` and `sealed` is there. */
export const IssuedLease = z.strictObject({
  lease_id: Uuid,
  credential: CredentialName,
  provider: Name,
  status: z.literal('active'),
  issued_at: Instant,
  expires_at: Instant.describe('When Mayfly ends it'),
  native_expires_at: Instant.optional().describe('When the upstream would by itself'),
  ttl_seconds: z.int(),
  ttl_adjusted: z.strictObject({ requested_seconds: z.int(), reason: z.string() }).optional(),
  scope: JsonObject,
  revocability: Revocability,
  renewable: z.boolean(),
  renewal: Renewal.optional().describe('How and how far it may be renewed, when it is renewable'),
  trace_id: TraceId,
  secret: JsonObject.optional().describe('In the form of the provider'),
  sealed: Sealed.optional().describe(
    "Compact JWE to the session's recipient key; its payload equals `secret`",
  ),
});
export type IssuedLease = z.infer<typeof IssuedLease>;

export const createLease = defineOperation({
  name: 'createLease',
  summary: 'Ask for a credential',
  description:
    'Mints a credential for this session. With an `Idempotency-Key` header a repeat of the same body ends the first lease and mints anew; secrets are never stored for a repeat.',
  http: { method: 'POST', path: '/v1/leases', status: 201, auth: 'session', tag: 'leases' },
  input: z.strictObject({
    credential: text(256),
    ttl_seconds: z.int().min(1).max(31_536_000).optional(),
    scope: JsonObject.optional(),
    task: text(256).optional(),
    justification: text(1024).optional(),
  }),
  output: IssuedLease,
  errors: [
    'unauthenticated',
    'policy_denied',
    'scope_exceeded',
    'ttl_exceeded',
    'limit_exceeded',
    'conflict',
    'provider_rejected',
    'provider_unavailable',
    'rate_limited',
  ],
});

export const listLeases = defineOperation({
  name: 'listLeases',
  summary: 'Own leases; for an administrator, those of the organization',
  http: { method: 'GET', path: '/v1/leases', status: 200, auth: 'session', tag: 'leases' },
  input: z.strictObject({
    state: z
      .enum(['live', 'all', 'failing'])
      .default('live')
      .describe('`failing`: those whose end, or the clean-up after it, fails and is tried again'),
    after: Uuid.optional(),
    limit: z.coerce.number().int().min(1).max(500).default(100),
  }),
  output: z.strictObject({ leases: z.array(LeaseView), next: Uuid.optional() }),
  errors: ['unauthenticated', 'rate_limited'],
});

export const getLease = defineOperation({
  name: 'getLease',
  summary: 'One lease; never the secret again',
  http: { method: 'GET', path: '/v1/leases/{lease_id}', status: 200, auth: 'session', tag: 'leases' },
  input: z.strictObject({ lease_id: Uuid }),
  output: LeaseView,
  errors: ['unauthenticated', 'not_found', 'rate_limited'],
});

/** The answer to a renewal. In place: no secret, because the one that its holder has goes on working. */
export const RenewedLease = IssuedLease.extend({
  /** How often it has been renewed, this time included. */
  renewals: z.int().min(1),
  /** Where the provider can't renew in place: this is a new lease, with a secret of its own, in the place of that one. */
  predecessor_id: Uuid.optional(),
});
export type RenewedLease = z.infer<typeof RenewedLease>;

export const renewLease = defineOperation({
  name: 'renewLease',
  summary: 'Renew a lease',
  description:
    'Lets one of the own leases live longer, as far as policy allows now. Where the upstream can, the same secret goes on working and none is returned (200); otherwise a successor lease comes with a secret of its own (201), and the old one ends after the grace of its credential. Without `ttl_seconds` it gets as much again as it was granted with.',
  http: {
    method: 'POST',
    path: '/v1/leases/{lease_id}/renew',
    status: 200,
    alsoStatus: 201,
    auth: 'session',
    tag: 'leases',
  },
  input: z.strictObject({ lease_id: Uuid, ttl_seconds: z.int().min(1).max(31_536_000).optional() }),
  output: RenewedLease,
  errors: [
    'unauthenticated',
    'not_found',
    'policy_denied',
    'scope_exceeded',
    'ttl_exceeded',
    'limit_exceeded',
    'lease_ended',
    'conflict',
    'provider_rejected',
    'provider_unavailable',
    'rate_limited',
  ],
});

export const reportUse = defineOperation({
  name: 'reportUse',
  summary: 'Report a use of a lease',
  http: { method: 'POST', path: '/v1/leases/{lease_id}/uses', status: 202, auth: 'session', tag: 'leases' },
  input: z.strictObject({
    lease_id: Uuid,
    action: text(256).optional(),
    outcome: z.enum(['success', 'failure']).default('success'),
  }),
  output: z.strictObject({}),
  errors: ['unauthenticated', 'not_found', 'lease_ended', 'rate_limited'],
});

export const deleteLease = defineOperation({
  name: 'giveBackLease',
  summary: 'Give a lease back',
  http: {
    method: 'DELETE',
    path: '/v1/leases/{lease_id}',
    status: 200,
    auth: 'session',
    vital: true,
    tag: 'leases',
  },
  input: z.strictObject({ lease_id: Uuid }),
  output: EndOutcome,
  errors: ['unauthenticated', 'not_found', 'rate_limited'],
});
