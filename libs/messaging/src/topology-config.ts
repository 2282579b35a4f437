/**
 * What the server must say of each stream and consumer: the whole of it, as `STREAM.INFO` and `CONSUMER.INFO` answer, so that whatever
 * differs has been changed by somebody. The settings of a deployment are here too, as the set-up step and every service read them:
 * a service that looks for changes must not take the word of the server, or of the set-up user, for what was wanted.
 */
import { ackWaitMs, consumers, streams } from './topology.ts';
import type { ConsumerDefinition, ConsumerName, StreamDefinition, StreamName } from './topology.ts';

/** What a deployment may choose. */
export interface TopologyOptions {
  /** Sizes in bytes instead of the defaults. */
  maxBytes?: Partial<Record<StreamName, number>>;
  /** Copies of every stream in a cluster (1, 3 or 5). Default 1. */
  replicas?: number;
  /** How long a delivered message may stay without acknowledgement, in milliseconds. Default 30,000; tests scale it down. */
  ackWaitMs?: number;
}

/** A configuration in JetStream's own words (its JSON API). */
export type JetStreamConfig = Readonly<Record<string, unknown>>;

const nanosecondsPerMs = 1_000_000;

/** The environment variables of `TopologyOptions`; all are whole numbers. */
export const topologySettings = {
  MAYFLY_STREAM_REPLICAS: 'copies of every stream in a cluster: 1, 3 or 5',
  MAYFLY_EVENTS_BYTES: 'size of MAYFLY_EVENTS in bytes',
  MAYFLY_SIGNALS_BYTES: 'size of MAYFLY_SIGNALS in bytes',
  MAYFLY_DEAD_BYTES: 'size of MAYFLY_DEAD in bytes',
  MAYFLY_ACK_WAIT_MS: 'milliseconds until a message without acknowledgement is delivered again',
} as const;
export type TopologySettings = Partial<Record<keyof typeof topologySettings, number | undefined>>;

/** The options that the settings stand for. */
export function topologyOptionsOf(settings: TopologySettings): TopologyOptions {
  const maxBytes = {
    ...(settings.MAYFLY_EVENTS_BYTES !== undefined && { MAYFLY_EVENTS: settings.MAYFLY_EVENTS_BYTES }),
    ...(settings.MAYFLY_SIGNALS_BYTES !== undefined && { MAYFLY_SIGNALS: settings.MAYFLY_SIGNALS_BYTES }),
    ...(settings.MAYFLY_DEAD_BYTES !== undefined && { MAYFLY_DEAD: settings.MAYFLY_DEAD_BYTES }),
  };
  return {
    maxBytes,
    ...(settings.MAYFLY_STREAM_REPLICAS !== undefined && { replicas: settings.MAYFLY_STREAM_REPLICAS }),
    ...(settings.MAYFLY_ACK_WAIT_MS !== undefined && { ackWaitMs: settings.MAYFLY_ACK_WAIT_MS }),
  };
}

/** The environment that makes a service expect these options; the other way round of `topologyOptionsOf`. */
export function topologyEnvironment(options: TopologyOptions): Record<string, string> {
  const { maxBytes = {}, replicas, ackWaitMs: ackWait } = options;
  const settings: TopologySettings = {
    MAYFLY_STREAM_REPLICAS: replicas,
    MAYFLY_EVENTS_BYTES: maxBytes.MAYFLY_EVENTS,
    MAYFLY_SIGNALS_BYTES: maxBytes.MAYFLY_SIGNALS,
    MAYFLY_DEAD_BYTES: maxBytes.MAYFLY_DEAD,
    MAYFLY_ACK_WAIT_MS: ackWait,
  };
  return Object.fromEntries(
    Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );
}

/** The declared configuration of a stream. Nobody may remove single messages from it, nor all of them: that can't be taken back. */
export function declaredStream(name: StreamName, options: TopologyOptions): JetStreamConfig {
  const definition: StreamDefinition = streams[name];
  return {
    name,
    subjects: [definition.subject],
    retention: definition.retention,
    discard: definition.discard,
    storage: 'file',
    max_bytes: options.maxBytes?.[name] ?? definition.maxBytes,
    max_age: definition.maxAgeMs * nanosecondsPerMs,
    duplicate_window: definition.duplicateWindowMs * nanosecondsPerMs,
    num_replicas: options.replicas ?? 1,
    max_consumers: -1,
    max_msgs: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    deny_delete: true,
    deny_purge: true,
  };
}

/** The declared configuration of a durable consumer. */
export function declaredConsumer(name: ConsumerName, options: TopologyOptions): JetStreamConfig {
  const definition: ConsumerDefinition = consumers[name];
  return {
    name,
    durable_name: name,
    ack_policy: 'explicit',
    deliver_policy: 'all',
    replay_policy: 'instant',
    ack_wait: (options.ackWaitMs ?? ackWaitMs) * nanosecondsPerMs,
    max_ack_pending: definition.maxAckPending,
    max_deliver: -1,
    max_waiting: 512,
    ...(definition.filter === undefined ? {} : { filter_subject: definition.filter }),
  };
}

/** One field that is not as declared. */
export interface Difference {
  readonly field: string;
  /** As JSON; `unset` when there should be, or is, none. */
  readonly declared: string;
  readonly found: string;
}

/**
 * Every field of what the server has that is not as declared. A field that we know nothing of, such as one that a newer server has, must
 * be empty: then whatever it does is off.
 */
export function differences(declared: JetStreamConfig, found: JetStreamConfig): Difference[] {
  const fields = new Set([...Object.keys(declared), ...Object.keys(found)]);
  return [...fields].flatMap((field) => {
    const wanted = declared[field];
    const has = field === 'metadata' ? foreignMetadata(found[field]) : found[field];
    if (wanted === undefined ? isEmpty(has) : JSON.stringify(wanted) === JSON.stringify(has)) return [];
    return [{ field, declared: text(wanted), found: text(has) }];
  });
}

/** A server writes down under `_nats.` which of its versions a stream asks for. */
function foreignMetadata(metadata: unknown): unknown {
  if (typeof metadata !== 'object' || metadata === null) return metadata;
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith('_nats.')));
}

/** Words by which a server says that something is off. */
const offWords: readonly unknown[] = ['', 'none', 'default'];

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === 0) return true;
  if (typeof value === 'object') return Object.keys(value).length === 0;
  return offWords.includes(value);
}

/** At most 200 characters: what somebody wrote there may be long. */
function text(value: unknown): string {
  return value === undefined ? 'unset' : JSON.stringify(value).slice(0, 200);
}

/** `max_msgs is 1 instead of -1, republish is {…} instead of unset` */
export function describeDifferences(found: readonly Difference[]): string {
  return found.map((one) => `${one.field} is ${one.found} instead of ${one.declared}`).join(', ');
}
