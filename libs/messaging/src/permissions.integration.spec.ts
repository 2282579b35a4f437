import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  busOperations,
  eventSubject,
  eventTypes,
  serviceNames,
  signalTypes,
  subjectOf,
} from '@mayfly/contracts';
import type { ServiceName } from '@mayfly/contracts';
import { Controller, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { PermissionViolationError } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { connectBus } from './connection.ts';
import { declareTopology } from './declare-topology.ts';
import { topologyReady } from './topology-check.ts';
import { Consumes } from './events/consumes.ts';
import { JetStreamServer } from './events/consumer.ts';
import type { Delivery } from './events/delivery.ts';
import { newEvent } from './events/new-event.ts';
import { EventPublisher } from './events/publisher.ts';
import { startNatsServer, waitUntil } from './local-nats-server.ts';
import type { LocalNatsServer } from './local-nats-server.ts';
import { consumersOf, eventPublishers } from './topology.ts';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const ackWaitMs = 1_000;

describe('I9: a server with natsPermissions()', () => {
  let nats: LocalNatsServer;
  let setup: NatsConnection;
  const users = {} as Record<ServiceName, NatsConnection>;
  const violations = new Map<string, PermissionViolationError[]>();

  async function user(name: ServiceName | 'setup'): Promise<NatsConnection> {
    const connection = await connectBus({ servers: nats.url, service: name, seedFile: nats.seedFile(name) });
    const seen: PermissionViolationError[] = [];
    violations.set(name, seen);
    void (async () => {
      for await (const status of connection.status()) {
        if (status.type === 'error' && status.error instanceof PermissionViolationError)
          seen.push(status.error);
      }
    })();
    return connection;
  }
  /** Whether the server let a user publish there. Permission errors come before the answer to the flush. */
  async function mayPublish(name: ServiceName, subject: string): Promise<boolean> {
    const before = violations.get(name)?.length;
    users[name].publish(subject, '');
    await users[name].flush();
    // The error came first, but its way through the status iterator is longer.
    await new Promise((resolve) => setImmediate(resolve));
    return violations.get(name)?.length === before;
  }
  async function maySubscribe(name: ServiceName, subject: string, queue?: string): Promise<boolean> {
    let refused = false;
    const subscription = users[name].subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      callback: (error) => {
        refused ||= error !== null;
      },
    });
    await users[name].flush();
    if (!refused) subscription.unsubscribe();
    return !refused;
  }

  beforeAll(async () => {
    nats = await startNatsServer({ enforced: true });
    setup = await user('setup');
    // Short, because below empty messages are published, and what is on its way behind one comes again after that time only.
    await declareTopology(setup, { ackWaitMs });
    await declareTopology(setup, { ackWaitMs });
    for (const name of serviceNames) users[name] = await user(name);
  });
  afterAll(async () => {
    await Promise.all([setup, ...Object.values(users)].map((connection) => connection?.close()));
    await nats?.stop();
  });

  it('lets setup declare the topology and every service see that it is there', async () => {
    expect(violations.get('setup')).toEqual([]);
    for (const name of serviceNames)
      expect([name, await topologyReady(users[name], name, { ackWaitMs })]).toEqual([name, true]);
  });

  it('lets nobody subscribe to another inbox, to operations of others, to events, or to acknowledgements', async () => {
    for (const name of serviceNames) {
      const others = serviceNames.filter((other) => other !== name);
      const forbidden = [
        '>',
        '*.>',
        '_INBOX_*.>',
        'mayfly.>',
        'mayfly.events.>',
        'mayfly.events.credential.issued',
        'mayfly.signals.>',
        'mayfly.dead.>',
        '$JS.>',
        '$SYS.>',
        '_INBOX_setup.>',
        ...others.flatMap((other) => [`_INBOX_${other}.>`, `_INBOX_${other}.x`, `mayfly.rpc.${other}.>`]),
      ];
      for (const subject of forbidden)
        expect([name, subject, await maySubscribe(name, subject)]).toEqual([name, subject, false]);
      for (const other of others) {
        expect([name, other, await maySubscribe(name, `mayfly.rpc.${other}.>`, other)]).toEqual([
          name,
          other,
          false,
        ]);
      }
    }
  });

  it('lets a service listen to its own operations only as one of its queue group', async () => {
    for (const name of ['policy', 'minting', 'revocation', 'audit'] as const) {
      expect(await maySubscribe(name, `mayfly.rpc.${name}.x`, name)).toBe(true);
      expect(await maySubscribe(name, `mayfly.rpc.${name}.x`)).toBe(false);
      expect(await maySubscribe(name, `mayfly.rpc.${name}.x`, 'eavesdroppers')).toBe(false);
    }
  });

  it('lets a service publish its own requests and events, and nothing else', async () => {
    const operations = busOperations.map((one) => ({
      subject: subjectOf(one),
      by: one.bus.callers,
    }));
    const events = [...eventTypes, ...signalTypes].map((type) => ({
      subject: eventSubject(type),
      by: serviceNames.filter((name) => eventPublishers[name].includes(type)),
    }));
    for (const name of serviceNames) {
      for (const { subject, by } of [...operations, ...events]) {
        expect([name, subject, await mayPublish(name, subject)]).toEqual([name, subject, by.includes(name)]);
      }
      const forbidden = [
        ...serviceNames.map((other) => `_INBOX_${other}.x.y`),
        ...serviceNames.filter((other) => other !== name).map((other) => `mayfly.dead.${other}`),
        'mayfly.events.invented.now',
        '$JS.API.STREAM.CREATE.MAYFLY_EVENTS',
        '$JS.API.STREAM.UPDATE.MAYFLY_EVENTS',
        '$JS.API.STREAM.DELETE.MAYFLY_EVENTS',
        '$JS.API.STREAM.PURGE.MAYFLY_EVENTS',
        '$JS.API.STREAM.MSG.GET.MAYFLY_EVENTS',
        '$JS.API.STREAM.MSG.DELETE.MAYFLY_EVENTS',
        '$JS.API.DIRECT.GET.MAYFLY_EVENTS',
        '$JS.API.CONSUMER.CREATE.MAYFLY_EVENTS',
        '$JS.API.CONSUMER.CREATE.MAYFLY_EVENTS.mine.>',
        '$JS.API.CONSUMER.DURABLE.CREATE.MAYFLY_EVENTS.mine',
        '$JS.API.CONSUMER.DELETE.MAYFLY_EVENTS.audit-events',
        '$SYS.REQ.SERVER.PING',
        ...serviceNames
          .filter((other) => other !== name)
          .flatMap((other) => consumersOf(other))
          .flatMap(([consumer, { stream }]) => [`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`]),
        // Not even of an own consumer, unless it was delivered.
        ...serviceNames
          .flatMap((any) => consumersOf(any))
          .map(([consumer, { stream }]) => `$JS.ACK.${stream}.${consumer}.1.1.1.1.0`),
      ];
      for (const subject of forbidden)
        expect([name, subject, await mayPublish(name, subject)]).toEqual([name, subject, false]);
    }
  });

  it('lets a service answer the request that it was sent, but not write to an inbox otherwise', async () => {
    const subject = 'mayfly.rpc.policy.decide';
    const replies: string[] = [];
    users.policy.subscribe(subject, {
      queue: 'policy',
      callback: (_, message) => {
        message.respond('first');
        message.respond('second');
        replies.push(message.reply ?? '');
      },
    });
    await users.policy.flush();
    expect((await users.gateway.request(subject, '{}', { timeout: 2_000 })).string()).toBe('first');
    expect(await mayPublish('policy', replies[0] ?? '')).toBe(false);
  });

  it('lets events flow from publisher to consumer, dead letters included', async () => {
    const seen: string[] = [];
    const handle = (batch: Delivery[]) => {
      for (const delivery of batch) {
        if (delivery.event.data.reason === 'poison') delivery.reject('poison');
        else seen.push(delivery.event.id);
      }
    };
    @Controller()
    class Handlers {
      @Consumes('revocation-intents')
      intents(batch: Delivery[]) {
        handle(batch);
      }
    }
    @Module({ controllers: [Handlers] })
    class App {}
    const letters: string[] = [];
    const strategy = new JetStreamServer({
      connection: users.revocation,
      service: 'revocation',
      logger: silent,
      onDeadLetter: (_, reason) => letters.push(reason),
    });
    const app = await NestFactory.createMicroservice(App, { logger: false, strategy });
    await app.listen();
    const minting = new EventPublisher(users.minting, { service: 'minting' });
    const good = newEvent('minting', 'credential.intended', {});
    expect(await minting.publish(good)).toEqual({ duplicate: false });
    await minting.publish(newEvent('minting', 'credential.intended', { reason: 'poison' }));
    await waitUntil('both', () => seen.includes(good.id) && letters.length > 0);
    await app.close();
    for (const name of serviceNames) {
      const publisher = new EventPublisher(users[name], { service: name });
      for (const type of eventPublishers[name]) {
        expect(await publisher.publish(newEvent(name, type, {}))).toEqual({ duplicate: false });
      }
    }
  });

  it('admits nobody without a key of its own', async () => {
    await expect(connectBus({ servers: nats.url, service: 'audit' })).rejects.toThrow(/authorization/i);
  });
});
