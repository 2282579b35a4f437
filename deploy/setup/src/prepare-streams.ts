/** Step `streams`: the streams and durable consumers, declared as the NATS user `setup`, which may do only that. */
import { join } from 'node:path';
import { consumers, streams, topologyOptionsOf } from '@mayfly/messaging';
import { prepareBus } from '@mayfly/stack';
import type { StreamsStep } from './settings.ts';

/** Creates what is missing and changes what differs. @throws Error when the bus can't be reached or refuses us */
export async function prepareStreams(settings: StreamsStep, tell: (line: string) => void): Promise<void> {
  const changes = await prepareBus(
    settings.MAYFLY_NATS_URL,
    settings.MAYFLY_NATS_CA,
    { natsSeedFile: (user) => join(settings.MAYFLY_KEYS, user, 'nats.nk') },
    topologyOptionsOf(settings),
  );
  // What was changed is told: it should be what an upgrade brings, and nothing else.
  for (const change of changes) tell(change);
  tell(`Streams: ${Object.keys(streams).join(', ')}. Consumers: ${Object.keys(consumers).join(', ')}.`);
}
