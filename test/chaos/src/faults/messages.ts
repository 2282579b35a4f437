/** Messages that come again, late, and in the wrong order: all that the log knows, published backwards by who may publish it. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { eventSubject, shortType, type MayflyEvent, type ServiceName } from '@mayfly/contracts';
import { connectBus } from '@mayfly/messaging';
import { headers } from '@nats-io/transport-node';
import type { Fault, Scene } from './fault.ts';

const newest = 600;

export function oldMessagesAgain(): Fault {
  return {
    name: 'messages twice, late and backwards',
    run: async (scene) => {
      const rows = await scene.register.query<{ event: MayflyEvent }>(
        'SELECT event FROM audit.event_log ORDER BY seq DESC LIMIT $1',
        [newest],
      );
      const events = rows.map(({ event }) => event);
      for (const service of ['minting', 'revocation', 'policy'] as const)
        await publish(
          scene,
          service,
          events.filter(({ source }) => source.endsWith(service)),
        );
      if (events.length === 0) throw new Error('there was nothing to publish again');
    },
  };
}

/** Each with a message id of its own, so that the stream does not know it for what it is. */
async function publish(
  { stack }: Scene,
  service: ServiceName,
  events: readonly MayflyEvent[],
): Promise<void> {
  const connection = await connectBus({
    servers: stack.natsUrl,
    service,
    seedFile: join(stack.keysFolder, service, 'nats.nk'),
  });
  try {
    for (const event of events) {
      const own = headers();
      own.set('Nats-Msg-Id', randomUUID());
      if (event.traceparent !== undefined) own.set('traceparent', event.traceparent);
      const type = shortType(event);
      await connection.request(eventSubject(type), JSON.stringify(event), { timeout: 5_000, headers: own });
    }
  } finally {
    await connection.close();
  }
}
