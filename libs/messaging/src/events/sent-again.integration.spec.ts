import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Controller, Module, type INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NatsConnection } from '@nats-io/transport-node';
import { connectBus, isConnected } from '../connection.ts';
import { declareTopology } from '../declare-topology.ts';
import { topologyReady } from '../topology-check.ts';
import { startNatsServer, waitUntil, type LocalNatsServer } from '../local-nats-server.ts';
import { request } from '../request.ts';
import { Consumes } from './consumes.ts';
import { JetStreamServer } from './consumer.ts';
import type { Delivery } from './delivery.ts';
import { newEvent } from './new-event.ts';
import { EventPublisher } from './publisher.ts';
import { SentAgain } from './sent-again.ts';

const info = '$JS.API.STREAM.INFO.MAYFLY_EVENTS';
const asked = { what: 'the stream', timeoutMs: 1_000 };
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const seen = new Map<string, number>();

@Controller()
class Audit {
  @Consumes('audit-events')
  events(batch: Delivery[]): void {
    for (const { event } of batch) seen.set(event.id, (seen.get(event.id) ?? 0) + 1);
  }
}

@Module({ controllers: [Audit] })
class App {}

describe('a server that comes back without what it had acknowledged', () => {
  let nats: LocalNatsServer;
  let policy: NatsConnection;
  let audit: NatsConnection;
  let publisher: EventPublisher;
  let sentAgain: [number, number][];
  let app: INestMicroservice | undefined;

  beforeEach(async () => {
    seen.clear();
    sentAgain = [];
    nats = await startNatsServer();
    policy = await connectBus({ servers: nats.url, service: 'policy' });
    audit = await connectBus({ servers: nats.url, service: 'audit' });
    publisher = new EventPublisher(policy, {
      service: 'policy',
      sendAgainAfterMs: 1_000,
      onSentAgain: (count, failed) => sentAgain.push([count, failed]),
    });
    await declareTopology(policy);
  });
  afterEach(async () => {
    await app?.close();
    app = undefined;
    await Promise.all([policy.close(), audit.close()]);
    await nats.stop();
  });

  async function consume(): Promise<void> {
    const strategy = new JetStreamServer({ connection: audit, service: 'audit', logger: silent });
    app = await NestFactory.createMicroservice(App, { logger: false, strategy });
    await app.listen();
  }
  const publish = async (count: number): Promise<string[]> => {
    const events = Array.from({ length: count }, () => newEvent('policy', 'session.opened', {}));
    await Promise.all(events.map((event) => publisher.publish(event)));
    return events.map(({ id }) => id);
  };
  const allSeen = (ids: readonly string[]) =>
    waitUntil('all to be there', () => ids.every((id) => seen.has(id)), { deadlineMs: 20_000 });

  it('is not ready while a consumer is ahead of its stream; set up anew, it has all of the last events', async () => {
    await consume();
    const before = await publish(40);
    await allSeen(before);
    await app?.close();
    const lost = await publish(20);
    await nats.kill();
    nats.loseMessages('MAYFLY_EVENTS');
    await nats.restart();
    await waitUntil('the connections', () => isConnected(policy) && isConnected(audit));
    await waitUntil('the stream', async () => (await request(audit, info, '', asked)).data.length > 0);
    expect(await topologyReady(audit, 'audit')).toBe(false);
    await declareTopology(policy);
    expect(await topologyReady(audit, 'audit')).toBe(true);
    await consume();
    const after = await publish(5);
    await allSeen([...lost, ...after]);
    await waitUntil('the count', () => sentAgain.length > 0);
    expect(sentAgain[0]).toEqual([65, 0]);
  }, 60_000);

  it('is sent nothing again that was said long ago, however little was said since', async () => {
    let now = 0;
    const sent: string[] = [];
    let done = false;
    const again = new SentAgain(policy, {
      send: ({ messageId }) => Promise.resolve(sent.push(messageId)),
      onSent: () => (done = true),
      afterMs: 1,
      now: () => now,
    });
    const message = (messageId: string) => ({ subject: '', payload: '', messageId, traceparent: undefined });
    again.remember(message('an old one'));
    now = 20_000;
    again.remember(message('a newer one'));
    // Four minutes after the first; an idle publisher has said nothing since.
    now = 250_000;
    await nats.kill();
    await nats.restart();
    await waitUntil('the repetition', () => done, { deadlineMs: 20_000 });
    expect(sent).toEqual(['a newer one']);
  }, 30_000);

  it('is sent nothing again when it was not away', async () => {
    await consume();
    await allSeen(await publish(10));
    expect(sentAgain).toEqual([]);
    expect([...seen.values()]).toEqual(Array.from({ length: 10 }, () => 1));
  });
});
