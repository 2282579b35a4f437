/** Creates the streams and consumers of `topology.ts`, and tells whether they are there. */
import type { ServiceName } from '@mayfly/contracts';
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import type { ConsumerConfig, JetStreamManager, StreamConfig } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { request } from './request.ts';
import { parseJson } from './rpc/wire.ts';
import { ackWaitMs, consumers, consumersOf, streams, streamsOf } from './topology.ts';
import type { ConsumerDefinition, StreamDefinition, StreamName } from './topology.ts';

export interface TopologyOptions {
  /** Sizes in bytes instead of the defaults. */
  maxBytes?: Partial<Record<StreamName, number>>;
  /** Copies of every stream in a cluster (1, 3 or 5). Default 1. */
  replicas?: number;
  /** How long a delivered message may stay without acknowledgement, in milliseconds. Default 30,000; tests scale it down. */
  ackWaitMs?: number;
}

/** Creates what is missing and changes what differs. Idempotent; run as user `setup` before any service starts. */
export async function declareTopology(
  connection: NatsConnection,
  options: TopologyOptions = {},
): Promise<void> {
  const manager = await jetstreamManager(connection, { checkAPI: false });
  for (const [name, definition] of Object.entries(streams) as [StreamName, StreamDefinition][]) {
    await declareStream(manager, name, definition, options);
  }
  for (const [name, definition] of Object.entries<ConsumerDefinition>(consumers)) {
    await dropIfAhead(manager, name, definition.stream);
    await declareConsumer(manager, name, definition, options);
  }
}

/**
 * A server that ran out of space or power may come back with a stream that ends before what a consumer has already had. The
 * consumer would take no message until the stream has caught up with it, so it is made anew and begins at the first.
 */
async function dropIfAhead(manager: JetStreamManager, name: string, stream: StreamName): Promise<void> {
  try {
    const { delivered } = await manager.consumers.info(stream, name);
    // Asked for later, so it is ahead of the consumer in any other case.
    const { state } = await manager.streams.info(stream);
    if (isAhead(delivered, state)) await manager.consumers.delete(stream, name);
  } catch (error) {
    if (!isCode(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
  }
}

function isAhead(delivered: { stream_seq: number }, state: { last_seq: number }): boolean {
  return delivered.stream_seq > state.last_seq;
}

async function declareStream(
  manager: JetStreamManager,
  name: StreamName,
  definition: StreamDefinition,
  options: TopologyOptions,
): Promise<void> {
  const changeable = {
    subjects: [definition.subject],
    discard: definition.discard === 'new' ? DiscardPolicy.New : DiscardPolicy.Old,
    max_bytes: options.maxBytes?.[name] ?? definition.maxBytes,
    max_age: nanos(definition.maxAgeMs),
    duplicate_window: nanos(definition.duplicateWindowMs),
    num_replicas: options.replicas ?? 1,
  } satisfies Partial<StreamConfig>;
  try {
    await manager.streams.info(name);
  } catch (error) {
    if (!isCode(error, JetStreamApiCodes.StreamNotFound)) throw error;
    await manager.streams.add({
      ...changeable,
      name,
      storage: StorageType.File,
      retention: definition.retention === 'interest' ? RetentionPolicy.Interest : RetentionPolicy.Limits,
    });
    return;
  }
  await manager.streams.update(name, changeable);
}

async function declareConsumer(
  manager: JetStreamManager,
  name: string,
  definition: ConsumerDefinition,
  options: TopologyOptions,
): Promise<void> {
  const changeable = {
    ack_wait: nanos(options.ackWaitMs ?? ackWaitMs),
    max_ack_pending: definition.maxAckPending,
    max_deliver: -1,
    ...(definition.filter === undefined ? {} : { filter_subject: definition.filter }),
  } satisfies Partial<ConsumerConfig>;
  try {
    await manager.consumers.info(definition.stream, name);
  } catch (error) {
    if (!isCode(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
    await manager.consumers.add(definition.stream, {
      ...changeable,
      durable_name: name,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
    });
    return;
  }
  await manager.consumers.update(definition.stream, name, changeable);
}

function isCode(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

/** How long one look takes at most, in milliseconds. */
const lookTimeoutMs = 2_000;

/**
 * Whether the streams that a service uses and its own consumers exist, and no consumer is ahead of its stream: then it gets
 * nothing until `declareTopology` has been called. Never throws: what cannot be asked is not ready.
 */
export async function topologyReady(connection: NatsConnection, service: ServiceName): Promise<boolean> {
  const own = consumersOf(service);
  const positions = await Promise.all(
    own.map(([name, { stream }]) =>
      look<{ delivered: { stream_seq: number } }>(connection, `CONSUMER.INFO.${stream}.${name}`),
    ),
  );
  const used = streamsOf(service);
  // After the consumers, which can't get ahead meanwhile.
  const found = await Promise.all(
    used.map((stream) => look<{ state: { last_seq: number } }>(connection, `STREAM.INFO.${stream}`)),
  );
  if (found.includes(undefined)) return false;
  return own.every(([, { stream }], index) => {
    const position = positions[index];
    const { state } = found[used.indexOf(stream)] ?? {};
    return position !== undefined && state !== undefined && !isAhead(position.delivered, state);
  });
}

/** JetStream's answer, unless it is an error or none. */
async function look<Answer>(connection: NatsConnection, what: string): Promise<Answer | undefined> {
  try {
    const subject = `$JS.API.${what}`;
    const reply = await request(connection, subject, '', { what: 'the event log', timeoutMs: lookTimeoutMs });
    const answer = parseJson(reply.data);
    const isFound = typeof answer === 'object' && answer !== null && !('error' in answer);
    return isFound ? (answer as Answer) : undefined;
  } catch {
    return undefined;
  }
}
