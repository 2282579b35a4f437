/** Makes the streams and consumers what `topology.ts` declares; the set-up step's work, as the user `setup`. */
import { MayflyError } from '@mayfly/contracts';
import type { NatsConnection } from '@nats-io/transport-node';
import { callJetStream, isAhead, notFound } from './jetstream-api.ts';
import type { ApiAnswer, ConsumerInfo, StreamInfo } from './jetstream-api.ts';
import { consumers, streams } from './topology.ts';
import type { ConsumerDefinition, ConsumerName, StreamName } from './topology.ts';
import { declaredConsumer, declaredStream, describeDifferences, differences } from './topology-config.ts';
import type { JetStreamConfig, TopologyOptions } from './topology-config.ts';

/**
 * Creates what is missing and changes what differs, whoever made it differ. Idempotent; run before any service starts, and whenever one
 * tells that something is not as declared.
 * @returns what was made or changed, one sentence each
 * @throws Error with what can't be changed and what to do, MayflyError when the server does not answer
 */
export async function declareTopology(
  connection: NatsConnection,
  options: TopologyOptions = {},
): Promise<string[]> {
  const changes: string[] = [];
  for (const name of Object.keys(streams) as StreamName[]) {
    changes.push(...(await declareStream(connection, name, declaredStream(name, options))));
  }
  for (const [name, { stream, filter }] of Object.entries(consumers) as [
    ConsumerName,
    ConsumerDefinition,
  ][]) {
    changes.push(...(await dropIfAhead(connection, name, stream)));
    const declared = declaredConsumer(name, options);
    changes.push(...(await declareConsumer(connection, { name, stream, filter, declared })));
  }
  return changes;
}

async function declareStream(
  connection: NatsConnection,
  name: StreamName,
  declared: JetStreamConfig,
): Promise<string[]> {
  const found = await find<StreamInfo>(connection, `STREAM.INFO.${name}`);
  if (found === undefined) {
    insist(name, await callJetStream<StreamInfo>(connection, `STREAM.CREATE.${name}`, declared), declared);
    return [`${name} was made.`];
  }
  const wrong = differences(declared, found.config);
  if (wrong.length === 0) return [];
  insist(name, await callJetStream<StreamInfo>(connection, `STREAM.UPDATE.${name}`, declared), declared);
  return [`${name} was changed: ${describeDifferences(wrong)}.`];
}

async function declareConsumer(
  connection: NatsConnection,
  consumer: { name: ConsumerName; stream: StreamName; filter: string | undefined; declared: JetStreamConfig },
): Promise<string[]> {
  const { name, stream, filter, declared } = consumer;
  const found = await find<ConsumerInfo>(connection, `CONSUMER.INFO.${stream}.${name}`);
  const wrong = found && differences(declared, found.config);
  if (wrong?.length === 0) return [];
  // One subject makes and changes; a server of before 2.10 knows no other.
  const subject = `CONSUMER.CREATE.${stream}.${name}${filter === undefined ? '' : `.${filter}`}`;
  const body = { stream_name: stream, config: declared };
  insist(name, await callJetStream<ConsumerInfo>(connection, subject, body), declared);
  return [wrong ? `${name} was changed: ${describeDifferences(wrong)}.` : `${name} was made.`];
}

async function find<Info>(connection: NatsConnection, what: string): Promise<Info | undefined> {
  const answer = await callJetStream<Info>(connection, what);
  if ('ok' in answer) return answer.ok;
  if (notFound.includes(answer.refused.code)) return undefined;
  throw new Error(`${what} was refused: ${answer.refused.description}.`);
}

/** What the server has now must be what is declared: some fields can never be changed back. */
function insist(
  name: string,
  answer: ApiAnswer<{ readonly config: JetStreamConfig }>,
  declared: JetStreamConfig,
): void {
  const wrong = 'ok' in answer ? differences(declared, answer.ok.config) : undefined;
  if (wrong?.length === 0) return;
  const why = wrong === undefined && 'refused' in answer ? answer.refused.description : '';
  throw new Error(
    `${name} could not be made as declared: ${wrong === undefined ? why : describeDifferences(wrong)}. Find out who changed it, save what it holds, ` +
      'and remove it on the machine of nats-server; the set-up then makes it anew (docs/operations.md, "A stream is not as declared").',
  );
}

/**
 * A server that ran out of space or power may come back with a stream that ends before what a consumer has already had. The
 * consumer would take no message until the stream has caught up with it, so it is made anew and begins at the first.
 */
async function dropIfAhead(
  connection: NatsConnection,
  name: ConsumerName,
  stream: StreamName,
): Promise<string[]> {
  const consumer = await find<ConsumerInfo>(connection, `CONSUMER.INFO.${stream}.${name}`);
  if (consumer === undefined) return [];
  // Asked for later, so it is ahead of the consumer in any other case.
  const info = await find<StreamInfo>(connection, `STREAM.INFO.${stream}`);
  if (info === undefined || !isAhead(consumer, info)) return [];
  const dropped = await callJetStream(connection, `CONSUMER.DELETE.${stream}.${name}`).catch(
    (error: unknown) => {
      if (error instanceof MayflyError && error.code === 'internal') return undefined;
      throw error;
    },
  );
  if (dropped !== undefined && 'ok' in dropped) return [`${name} was ahead of ${stream} and is made anew.`];
  throw new Error(
    `${name} has had more of ${stream} than it holds, and nobody on the bus may remove a consumer: remove it on the machine of nats-server, ` +
      'and run the set-up again (docs/operations.md, "nats-server comes back with less than it had acknowledged").',
  );
}
