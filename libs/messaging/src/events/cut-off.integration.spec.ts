/** I9: a captured publisher can't hold back from others what they wait for: an empty message cuts a pull off, once. */
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import type { NatsConnection } from '@nats-io/transport-node';
import { connectBus } from '../connection.ts';
import { declareTopology } from '../declare-topology.ts';
import { startNatsServer, waitUntil } from '../local-nats-server.ts';
import type { LocalNatsServer } from '../local-nats-server.ts';
import { newEvent } from './new-event.ts';
import { EventPublisher } from './publisher.ts';
import { Pull } from './pull.ts';

const ackWaitMs = 1_000;
let nats: LocalNatsServer;
let minting: NatsConnection;
let revocation: NatsConnection;

beforeEach(async () => {
  nats = await startNatsServer({ enforced: true });
  const as = (service: 'setup' | 'minting' | 'revocation') =>
    connectBus({ servers: nats.url, service, seedFile: nats.seedFile(service) });
  const setup = await as('setup');
  await declareTopology(setup, { ackWaitMs });
  await setup.close();
  [minting, revocation] = [await as('minting'), await as('revocation')];
});
afterEach(async () => {
  await Promise.all([minting.close(), revocation.close()]);
  await nats.stop();
});

it('an empty message delays what is behind it by one acknowledgement wait, and the next empty ones nothing', async () => {
  let cutOffs = 0;
  const pull = new Pull({
    connection: revocation,
    service: 'revocation',
    stream: 'MAYFLY_EVENTS',
    durable: 'revocation-intents',
    batch: 100,
    onMissing: () => undefined,
    onCutOff: () => cutOffs++,
  });
  const arrived = new Map<string, number>();
  const taking = (async () => {
    for (;;) {
      const batch = await pull.take();
      if (batch.length === 0) return;
      for (const held of batch) {
        if (held.message.data.length > 0) arrived.set(held.open().event.id, performance.now());
        held.ack();
      }
    }
  })();
  const publisher = new EventPublisher(minting, { service: 'minting' });
  const publish = async (empties: number) => {
    const started = performance.now();
    for (let count = 0; count < empties; count++)
      await minting.request('mayfly.events.credential.intended', '');
    const event = newEvent('minting', 'credential.intended', {});
    await publisher.publish(event);
    await waitUntil('the event', () => arrived.has(event.id), { deadlineMs: 20_000 });
    return (arrived.get(event.id) ?? 0) - started;
  };
  try {
    pull.start();
    expect(await publish(0)).toBeLessThan(900);
    // However long it takes to hear of the first, nothing is lost for good and the pull's own life of 30 s is not waited for.
    expect(await publish(1)).toBeLessThan(10_000);
    // From now on there is nothing behind an empty one that the server could lose.
    for (let round = 0; round < 5; round++) expect(await publish(20)).toBeLessThan(900);
    expect(cutOffs).toBe(101);
  } finally {
    await pull.close();
    await taking;
  }
}, 60_000);
