/** What audit answers over the bus. */
import { z } from 'zod';
import { EventTypeName } from '../events/event.ts';
import { defineOperation } from '../operation.ts';
import { AgentId, Instant, Signed, TraceId, Uuid } from '../primitives.ts';

/** One row of the audit log as auditors see it. */
export const AuditEvent = z.strictObject({
  /** Position in the chain; grows by one. */
  seq: z.int(),
  id: Uuid,
  time: Instant,
  type: z.string(),
  organization: z.string().optional(),
  lease_id: z.string().optional(),
  agent_id: z.string().optional(),
  credential: z.string().optional(),
  outcome: z.string().optional(),
  reason: z.string().optional(),
  trace_id: z.string().optional(),
  event_trace_id: z.string().optional(),
  data: z.record(z.string(), z.json()),
});
export type AuditEvent = z.infer<typeof AuditEvent>;

/** Filters of an audit query; all that are given must match. */
export const auditFilters = {
  lease_id: Uuid.optional(),
  agent_id: AgentId.optional(),
  trace_id: TraceId.optional(),
  session_id: Uuid.optional(),
  type: EventTypeName.optional(),
  since: Instant.optional(),
  until: Instant.optional(),
};

export const queryEvents = defineOperation({
  name: 'audit.query-events',
  summary: 'Events of the asking organization, oldest first, keyset-paged.',
  bus: { service: 'audit', operation: 'query-events', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({
    assertion: Signed,
    ...auditFilters,
    after: z.int().min(0).optional().describe('Keyset: the last seq of the page before'),
    limit: z.int().min(1).max(1000).default(100),
  }),
  output: z.strictObject({ events: z.array(AuditEvent), next: z.int().optional() }),
  errors: ['unauthenticated', 'policy_denied'],
});

/** One row per lease: `audit.credential_lifecycle`. */
export const LeaseLifecycle = z.strictObject({
  lease_id: Uuid,
  organization: z.string(),
  agent_id: z.string(),
  agent_role: z.string().optional(),
  user: z.string().optional(),
  task: z.string().optional(),
  credential: z.string(),
  provider: z.string(),
  scope: z.record(z.string(), z.json()).optional(),
  requested_at: Instant.optional(),
  issued_at: Instant.optional(),
  expires_at: Instant.optional(),
  last_used_at: Instant.optional(),
  ended_at: Instant.optional(),
  /** `expired`, `revoked`, `failed`, `orphaned`; absent while it lives. */
  how_ended: z.string().optional(),
  /** `pending` while something that it left upstream is still to be removed; absent when its end left nothing. */
  cleanup: z.enum(['pending', 'done']).optional(),
  cleanup_failed_at: Instant.optional(),
  cleaned_up_at: Instant.optional(),
  uses: z.int(),
  /** With those of its predecessors. */
  renewals: z.int(),
  last_renewed_at: Instant.optional(),
  predecessor_id: Uuid.optional(),
  successor_id: Uuid.optional(),
  trace_id: z.string().optional(),
});
export type LeaseLifecycle = z.infer<typeof LeaseLifecycle>;

export const leaseTimeline = defineOperation({
  name: 'audit.lease-timeline',
  summary: "A lease's whole life: its lifecycle row and every event, oldest first.",
  bus: { service: 'audit', operation: 'lease-timeline', callers: ['gateway'], timeoutMs: 10_000 },
  input: z.strictObject({ assertion: Signed, lease_id: Uuid }),
  output: z.strictObject({ lease: LeaseLifecycle, events: z.array(AuditEvent) }),
  errors: ['unauthenticated', 'policy_denied', 'not_found'],
});
