/** Whether the streams and consumers that a service uses are there, and are what is declared: part of its readiness. */
import type { ServiceName } from '@mayfly/contracts';
import type { NatsConnection } from '@nats-io/transport-node';
import { callJetStream, isAhead } from './jetstream-api.ts';
import type { ConsumerInfo, StreamInfo } from './jetstream-api.ts';
import { consumersOf, streamsOf } from './topology.ts';
import { declaredConsumer, declaredStream, describeDifferences, differences } from './topology-config.ts';
import type { TopologyOptions } from './topology-config.ts';

/** What keeps a service from being ready. */
export interface TopologyProblem {
  /** The stream or consumer. */
  readonly object: string;
  /** `missing`: not there, or the server does not say. `ahead`: the consumer gets nothing. `changed`: not as declared. */
  readonly kind: 'missing' | 'ahead' | 'changed';
  /** For whoever reads the log: what is wrong and what to do. */
  readonly sentence: string;
}

/** How long one look takes at most, in milliseconds. */
const lookTimeoutMs = 2_000;

/**
 * What is wrong with the streams that a service uses and with its own consumers: every field that the server tells of them is compared
 * with what is declared, so that a change by hand or with the set-up user's key does not go unseen. Never throws: what can't be
 * asked is not ready (fails closed).
 * @param options as the set-up step has them
 */
export async function topologyProblems(
  connection: NatsConnection,
  service: ServiceName,
  options: TopologyOptions = {},
): Promise<TopologyProblem[]> {
  const own = consumersOf(service);
  const found = await Promise.all(
    own.map(([name, { stream }]) => look<ConsumerInfo>(connection, `CONSUMER.INFO.${stream}.${name}`)),
  );
  // After the consumers, which can't get ahead meanwhile.
  const used = streamsOf(service);
  const infos = new Map(
    await Promise.all(
      used.map(async (name) => [name, await look<StreamInfo>(connection, `STREAM.INFO.${name}`)] as const),
    ),
  );
  return [
    ...used.flatMap((name) => {
      const info = infos.get(name);
      return info === undefined ? missing(name) : changed(name, declaredStream(name, options), info.config);
    }),
    ...own.flatMap(([name, { stream }], index) => {
      const info = found[index];
      const streamInfo = infos.get(stream);
      if (info === undefined) return missing(name);
      return [
        ...changed(name, declaredConsumer(name, options), info.config),
        ...(streamInfo !== undefined && isAhead(info, streamInfo) ? [ahead(name, stream)] : []),
      ];
    }),
  ];
}

/** Whether nothing is wrong. */
export async function topologyReady(
  connection: NatsConnection,
  service: ServiceName,
  options: TopologyOptions = {},
): Promise<boolean> {
  return (await topologyProblems(connection, service, options)).length === 0;
}

function missing(object: string): TopologyProblem[] {
  const sentence = `${object} is not there, or the server does not tell: run the set-up step setup-streams.`;
  return [{ object, kind: 'missing', sentence }];
}

function ahead(object: string, stream: string): TopologyProblem {
  const sentence = `${object} has had more of ${stream} than it holds and gets nothing: run the set-up step setup-streams.`;
  return { object, kind: 'ahead', sentence };
}

function changed(
  object: string,
  declared: Parameters<typeof differences>[0],
  found: Parameters<typeof differences>[1],
): TopologyProblem[] {
  const wrong = differences(declared, found);
  if (wrong.length === 0) return [];
  const sentence =
    `${object} is not as declared: ${describeDifferences(wrong)}. If this is no upgrade under way, somebody changed it: find out who has ` +
    'the key of the set-up user, replace it, and run the set-up step setup-streams, which changes it back.';
  return [{ object, kind: 'changed', sentence }];
}

/** JetStream's answer, unless it is an error or none. */
async function look<Answer>(connection: NatsConnection, what: string): Promise<Answer | undefined> {
  try {
    const answer = await callJetStream<Answer>(connection, what, undefined, lookTimeoutMs);
    return 'ok' in answer ? answer.ok : undefined;
  } catch {
    return undefined;
  }
}
