/**
 * Every event and signal: CloudEvents 1.0 structured JSON. Subject `mayfly.events.credential.issued` is `type`
 * `dev.mayfly.credential.issued.v1`. Never a secret, never a handle.
 */
import { z } from 'zod';
import {
  Fingerprint,
  Instant,
  JsonObject,
  Name,
  OrganizationId,
  Revocability,
  SourceIp,
  text,
  TraceId,
  Traceparent,
  UseKeys,
  Uuid,
} from '../primitives.ts';

/** What an authorised mint, end, session or administrator causes: stream `MAYFLY_EVENTS`. */
export const eventTypes = [
  'session.opened',
  'session.delegated',
  'session.closed',
  'session.expired',
  'request.pending',
  'request.approved',
  'request.rejected',
  'request.expired',
  'request.withdrawn',
  'credential.intended',
  'credential.issued',
  'credential.failed',
  'credential.orphaned',
  'credential.renewed',
  'credential.expired',
  'credential.revoked',
  'credential.revocation_failed',
  /**
   * What an ended lease has left upstream could not be removed, for a reason that lies in what it left or in the rights of the
   * integration: its clean-up has been refused for the first time. Told once for each lease; its access has ended all the same.
   */
  'credential.cleanup_failed',
  /** What an ended lease had left upstream has been removed; only for leases whose end said `cleanup: pending`. */
  'credential.cleaned_up',
  'credential.leaked',
  'revocation.requested',
  'revocation.completed',
  'config.applied',
  'config.removed',
  'block.added',
  'block.removed',
] as const;
export type EventType = (typeof eventTypes)[number];

/** What a stranger can cause: stream `MAYFLY_SIGNALS`. */
export const signalTypes = [
  'session.rejected',
  'request.denied',
  'credential.used',
  'config.rejected',
  'alert.raised',
] as const;
export type SignalType = (typeof signalTypes)[number];

/** The type of an event or signal, short or as in the event itself; `credential.issued` either way. */
export const EventTypeName = z
  .string()
  .max(128)
  .overwrite((type) => type.replace(/^dev\.mayfly\.(.+)\.v1$/, '$1'))
  .refine((type) => ([...eventTypes, ...signalTypes] as string[]).includes(type), {
    error: 'must be the type of an event, such as credential.issued',
  });

/** The events that end a lease. */
export const endingEventTypes = [
  'credential.failed',
  'credential.orphaned',
  'credential.expired',
  'credential.revoked',
] as const satisfies EventType[];

/** What events tell, each field where it applies (design: "Events"). Strict, so that nothing slips in unnoticed. */
export const EventData = z.strictObject({
  /** Absent only where none could be established, such as a rejected identity. */
  organization: OrganizationId.optional(),
  lease_id: Uuid.optional(),
  session_id: Uuid.optional(),
  parent_session_id: Uuid.optional(),
  agent_id: text(2048).optional(),
  agent_role: text(63).optional(),
  user: text(256).optional(),
  /** From verified claims. */
  task: text(256).optional(),
  /** What the agent says it is doing. */
  claimed_task: text(256).optional(),
  justification: text(1024).optional(),
  credential: z.string().max(256).optional(),
  integration: Name.optional(),
  provider: Name.optional(),
  scope: JsonObject.optional(),
  ttl_seconds: z.int().optional(),
  issued_at: Instant.optional(),
  expires_at: Instant.optional(),
  native_expires_at: Instant.optional(),
  revocability: Revocability.optional(),
  fingerprints: z.array(Fingerprint).max(16).optional(),
  use_keys: UseKeys.optional(),
  source_ip: SourceIp.optional(),
  /** The full why, for auditors; the asker sees less. */
  reason: z.string().max(1024).optional(),
  action_context: z.record(z.string().max(64), z.json()).optional(),
  policy_ids: z.array(z.string().max(256)).max(64).optional(),
  config_version: z.int().optional(),
  outcome: z.string().max(64).optional(),
  /** Of an end: `pending` while something of the lease is still to be removed upstream; its access has ended all the same. */
  cleanup: z.enum(['done', 'pending']).optional(),
  /** How often the lease, with its predecessors, has been renewed. */
  renewals: z.int().min(0).optional(),
  /** The lease that this one took the place of by rotation. */
  predecessor_id: Uuid.optional(),
  /** The lease that took the place of this one by rotation. */
  successor_id: Uuid.optional(),
  /** Where a use was learnt from. */
  source: z.enum(['reported', 'observed']).optional(),
  /** The revocation that it is about, that started the end of the lease, or that it orders. */
  revocation_id: Uuid.optional(),
  /** The block that was added or removed. */
  block_id: Uuid.optional(),
  /** The lease's trace for life, or for events without a lease the causing request's. */
  trace_id: TraceId.optional(),
  /** The causing request's trace. */
  event_trace_id: TraceId.optional(),
});
export type EventData = z.infer<typeof EventData>;

const eventTypePattern = /^dev\.mayfly\.([a-z_]+\.[a-z_]+)\.v1$/;

export const MayflyEvent = z.strictObject({
  specversion: z.literal('1.0'),
  /** UUIDv7; also `Nats-Msg-Id`, except for `credential.intended`, whose message id is the lease id. */
  id: Uuid,
  /** `//mayfly/<service>` */
  source: z.string().max(64),
  type: z.string().regex(eventTypePattern),
  /** The lease id, or what else the event is about (CloudEvents `subject`). */
  subject: z.string().max(2048).optional(),
  time: Instant,
  datacontenttype: z.literal('application/json'),
  /** CloudEvents distributed-tracing extension: the issuance span for lease events. */
  traceparent: Traceparent.optional(),
  data: EventData,
});
export type MayflyEvent = z.infer<typeof MayflyEvent>;

/** `credential.issued` of `dev.mayfly.credential.issued.v1`. */
export function shortType(event: Pick<MayflyEvent, 'type'>): EventType | SignalType {
  const match = eventTypePattern.exec(event.type);
  return (match?.[1] ?? event.type) as EventType | SignalType;
}

/** `dev.mayfly.credential.issued.v1` of `credential.issued`. */
export function typeOf(type: EventType | SignalType): string {
  return `dev.mayfly.${type}.v1`;
}

/** Subject on the bus: `mayfly.events.…` or `mayfly.signals.…`. */
export function eventSubject(type: EventType | SignalType): string {
  return `mayfly.${(signalTypes as readonly string[]).includes(type) ? 'signals' : 'events'}.${type}`;
}
