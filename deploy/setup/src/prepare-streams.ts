/** Step `streams`: the streams and durable consumers, declared as the NATS user `setup`, which may do only that. */
import { join } from 'node:path';
import { consumers, streams } from '@mayfly/messaging';
import { prepareBus } from '@mayfly/stack';
import type { StreamsStep } from './settings.ts';

/** Creates what is missing and changes what differs. @throws Error when the bus can't be reached or refuses us */
export async function prepareStreams(settings: StreamsStep, tell: (line: string) => void): Promise<void> {
  await prepareBus(settings.MAYFLY_NATS_URL, settings.MAYFLY_NATS_CA, {
    natsSeedFile: (user) => join(settings.MAYFLY_KEYS, user, 'nats.nk'),
  });
  tell(`Streams: ${Object.keys(streams).join(', ')}. Consumers: ${Object.keys(consumers).join(', ')}.`);
}
