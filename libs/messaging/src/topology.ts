/**
 * The one place that says which streams and durable consumers exist, and which service may publish and consume what.
 * `declare-topology.ts` creates them, `permissions.ts` turns them into NATS permissions.
 *
 * Only what nats-server 2.9 knows: no filter_subjects, metadata or compression.
 */
import { eventSubject, eventTypes } from '@mayfly/contracts';
import type { EventType, ServiceName, SignalType } from '@mayfly/contracts';

const mebibyte = 1024 * 1024;
const day = 24 * 60 * 60 * 1000;

export interface StreamDefinition {
  readonly subject: string;
  /** `interest`: kept until every consumer has acknowledged. `limits`: kept until the limits push it out. */
  readonly retention: 'interest' | 'limits';
  /** When full: `new` refuses what comes, `old` drops what is oldest. */
  readonly discard: 'new' | 'old';
  /** Default; a setting of `declareTopology`. */
  readonly maxBytes: number;
  /** Milliseconds; 0 is for ever. */
  readonly maxAgeMs: number;
  /** How long a message id is remembered, in milliseconds. */
  readonly duplicateWindowMs: number;
}

export const streams = {
  /** What an authorised mint, end, session or administrator causes. Full, it refuses: issuance stops before an event is lost. */
  MAYFLY_EVENTS: {
    subject: 'mayfly.events.>',
    retention: 'interest',
    discard: 'new',
    maxBytes: 1024 * mebibyte,
    maxAgeMs: 0,
    duplicateWindowMs: 5 * 60_000,
  },
  /** What a stranger can cause. Full, it drops the oldest; the loss is seen and counted by its consumer. */
  MAYFLY_SIGNALS: {
    subject: 'mayfly.signals.>',
    retention: 'limits',
    discard: 'old',
    maxBytes: 256 * mebibyte,
    maxAgeMs: 7 * day,
    duplicateWindowMs: 5 * 60_000,
  },
  /** What could not be processed, with the reason. */
  MAYFLY_DEAD: {
    subject: 'mayfly.dead.>',
    retention: 'limits',
    discard: 'old',
    maxBytes: 256 * mebibyte,
    maxAgeMs: 0,
    duplicateWindowMs: 5 * 60_000,
  },
} as const satisfies Record<string, StreamDefinition>;
export type StreamName = keyof typeof streams;

export interface ConsumerDefinition {
  readonly service: ServiceName;
  readonly stream: StreamName;
  /** Only messages of this subject; all without it. */
  readonly filter?: string;
  /** Most messages that a handler gets at once. */
  readonly batch: number;
  /** Most messages that are out without acknowledgement, over all replicas. */
  readonly maxAckPending: number;
  /** Most batches that are worked on at once while there is a backlog; 1 without it. Their order is not kept then. */
  readonly parallelBatches?: number;
  /** How long what follows a batch that was not full is gathered, in milliseconds; 0 without it. */
  readonly gatherMs?: number;
}

/** Durable pull consumers: explicit acknowledgement, deliver all, redelivery for ever. */
export const consumers = {
  'audit-events': {
    service: 'audit',
    stream: 'MAYFLY_EVENTS',
    batch: 1000,
    maxAckPending: 10_000,
    parallelBatches: 2,
    gatherMs: 100,
  },
  'audit-signals': {
    service: 'audit',
    stream: 'MAYFLY_SIGNALS',
    batch: 1000,
    maxAckPending: 10_000,
    gatherMs: 100,
  },
  'revocation-intents': {
    service: 'revocation',
    stream: 'MAYFLY_EVENTS',
    filter: eventSubject('credential.intended'),
    batch: 200,
    maxAckPending: 2_000,
  },
  'revocation-sessions': {
    service: 'revocation',
    stream: 'MAYFLY_EVENTS',
    filter: eventSubject('session.closed'),
    batch: 100,
    maxAckPending: 1_000,
  },
  'revocation-blocks': {
    service: 'revocation',
    stream: 'MAYFLY_EVENTS',
    filter: eventSubject('block.added'),
    batch: 100,
    maxAckPending: 1_000,
  },
  'revocation-removals': {
    service: 'revocation',
    stream: 'MAYFLY_EVENTS',
    filter: eventSubject('config.removed'),
    batch: 100,
    maxAckPending: 1_000,
  },
  'policy-leases': {
    service: 'policy',
    stream: 'MAYFLY_EVENTS',
    filter: 'mayfly.events.credential.*',
    batch: 200,
    maxAckPending: 2_000,
    gatherMs: 50,
  },
} as const satisfies Record<string, ConsumerDefinition>;
export type ConsumerName = keyof typeof consumers;

/**
 * How long a delivered message may stay without acknowledgement before it is delivered again, in milliseconds. A handler that takes
 * longer (its database hangs) may find its work done by another replica meanwhile, and its own acknowledgement still counts
 * for as long as the server lets it answer (90 s).
 */
export const ackWaitMs = 30_000;

function typesOf(...areas: string[]): EventType[] {
  return eventTypes.filter((type) => areas.includes(type.slice(0, type.indexOf('.'))));
}

/** Which events and signals each service may publish; nobody else can (I9). */
export const eventPublishers: Readonly<Record<ServiceName, readonly (EventType | SignalType)[]>> = {
  gateway: [],
  policy: [
    ...typesOf('session', 'request', 'config', 'block'),
    'session.rejected',
    'request.denied',
    'config.rejected',
  ],
  minting: ['credential.intended'],
  revocation: [
    ...typesOf('credential').filter((type) => type !== 'credential.intended'),
    ...typesOf('revocation'),
    'credential.used',
  ],
  audit: ['alert.raised'],
};

/** Where a service's unprocessable messages go. */
export function deadSubject(service: ServiceName): string {
  return `mayfly.dead.${service}`;
}

/** The consumers of a service, by name. */
export function consumersOf(service: ServiceName): [ConsumerName, ConsumerDefinition][] {
  return (Object.entries(consumers) as [ConsumerName, ConsumerDefinition][]).filter(
    ([, consumer]) => consumer.service === service,
  );
}

/** The streams that a service publishes to or consumes. */
export function streamsOf(service: ServiceName): StreamName[] {
  const used = new Set<StreamName>(consumersOf(service).map(([, consumer]) => consumer.stream));
  if (used.size > 0) used.add('MAYFLY_DEAD');
  for (const type of eventPublishers[service]) used.add(streamOf(eventSubject(type)));
  return [...used];
}

/** The stream that keeps a subject of events or signals. */
export function streamOf(subject: string): 'MAYFLY_EVENTS' | 'MAYFLY_SIGNALS' {
  return subject.startsWith('mayfly.signals.') ? 'MAYFLY_SIGNALS' : 'MAYFLY_EVENTS';
}
