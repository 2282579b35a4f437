import 'reflect-metadata';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import type { MayflyEvent } from '@mayfly/contracts';
import { Controller, Module } from '@nestjs/common';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { EventPattern } from '@nestjs/microservices';
import { jetstreamManager } from '@nats-io/jetstream';
import type { JetStreamManager } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { NatsConnection } from '@nats-io/transport-node';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { connectBus } from '../connection.ts';
import { declareTopology } from '../declare-topology.ts';
import { topologyReady } from '../topology-check.ts';
import { startNatsServer, waitUntil } from '../local-nats-server.ts';
import type { LocalNatsServer } from '../local-nats-server.ts';
import { consumers, streams, ackWaitMs } from '../topology.ts';
import { Consumes } from './consumes.ts';
import { JetStreamServer } from './consumer.ts';
import type { JetStreamServerOptions } from './consumer.ts';
import { PoisonMessage } from './delivery.ts';
import type { Delivery } from './delivery.ts';
import { newEvent } from './new-event.ts';
import { EventPublisher } from './publisher.ts';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

type Handler = (batch: Delivery[]) => void | Promise<void>;
let onEvents: Handler = () => undefined;
let onSignals: Handler = () => undefined;

@Controller()
class AuditHandlers {
  @Consumes('audit-events')
  async events(batch: Delivery[]): Promise<void> {
    await onEvents(batch);
  }
  @Consumes('audit-signals')
  async signals(batch: Delivery[]): Promise<void> {
    await onSignals(batch);
  }
}

const spans = new InMemorySpanExporter();
const telemetry = new NodeSDK({
  spanProcessors: [new SimpleSpanProcessor({ exporter: spans })],
  autoDetectResources: false,
  metricReaders: [],
  logRecordProcessors: [],
});

describe('events over a real JetStream', () => {
  beforeAll(() => telemetry.start());
  afterAll(() => telemetry.shutdown());

  let nats: LocalNatsServer;
  let connection: NatsConnection;
  let manager: JetStreamManager;
  let app: INestMicroservice | undefined;
  let server: JetStreamServer;
  let policy: EventPublisher;
  let audit: NatsConnection;

  beforeEach(async () => {
    nats = await startNatsServer();
    connection = await connectBus({ servers: nats.url, service: 'policy' });
    audit = await connectBus({ servers: nats.url, service: 'audit' });
    manager = await jetstreamManager(connection, { checkAPI: false });
    policy = new EventPublisher(connection, { service: 'policy' });
    onEvents = () => undefined;
    onSignals = () => undefined;
  });
  afterEach(async () => {
    await app?.close();
    app = undefined;
    await Promise.all([connection.close(), audit.close()]);
    await nats.stop();
  });

  /** Everything but `audit-events` out of the way, so that interest ends with it. */
  async function onlyAudit(maxBytes: Parameters<typeof declareTopology>[1] = {}) {
    await declareTopology(connection, maxBytes);
    for (const name of ['revocation-intents', 'revocation-sessions', 'policy-leases']) {
      await manager.consumers.delete('MAYFLY_EVENTS', name);
    }
  }
  async function consume(
    more: Partial<JetStreamServerOptions> = {},
    controller: new () => object = AuditHandlers,
  ) {
    @Module({ controllers: [controller] })
    class App {}
    server = new JetStreamServer({ connection: audit, service: 'audit', logger: silent, ...more });
    app = await NestFactory.createMicroservice(App, { logger: false, strategy: server });
    await app.listen();
  }
  async function publish(count: number, type: 'session.opened' | 'session.rejected' = 'session.opened') {
    const events = Array.from({ length: count }, () => newEvent('policy', type, { organization: 'acme' }));
    await Promise.all(events.map((event) => policy.publish(event)));
    return events.map((event) => event.id);
  }
  const stored = async (stream: string) => (await manager.streams.info(stream)).state.messages;
  const emptied = (deadlineMs = 20_000) =>
    waitUntil('the stream to empty', async () => (await stored('MAYFLY_EVENTS')) === 0, { deadlineMs });
  async function failure(work: Promise<unknown>) {
    return work.then(
      () => undefined,
      (error: unknown) => (error instanceof MayflyError ? { code: error.code, reason: error.reason } : error),
    );
  }

  it('declares the topology once and again, and says when it is there', async () => {
    expect(await topologyReady(audit, 'audit')).toBe(false);
    await declareTopology(connection);
    await declareTopology(connection, { maxBytes: { MAYFLY_EVENTS: 1_000_000 } });
    const info = await manager.streams.info('MAYFLY_EVENTS');
    expect(info.config).toMatchObject({
      retention: 'interest',
      discard: 'new',
      storage: 'file',
      max_bytes: 1_000_000,
      subjects: [streams.MAYFLY_EVENTS.subject],
    });
    const declared = Object.values(consumers).filter(({ stream }) => stream === 'MAYFLY_EVENTS');
    expect(info.state.consumer_count).toBe(declared.length);
    const consumer = await manager.consumers.info('MAYFLY_EVENTS', 'policy-leases');
    expect(consumer.config).toMatchObject({
      ack_policy: 'explicit',
      filter_subject: consumers['policy-leases'].filter,
      max_deliver: -1,
    });
    for (const service of ['gateway', 'policy', 'minting', 'revocation', 'audit'] as const) {
      expect(await topologyReady(audit, service, { maxBytes: { MAYFLY_EVENTS: 1_000_000 } })).toBe(true);
    }
  });

  it('stores an event once, however often it is published', async () => {
    await onlyAudit();
    const event = newEvent('policy', 'session.opened', {}, { traceparent });
    expect(await policy.publish(event)).toEqual({ duplicate: false });
    expect(await policy.publish(event)).toEqual({ duplicate: true });
    expect(await policy.publish(newEvent('policy', 'session.opened', {}), { messageId: event.id })).toEqual({
      duplicate: true,
    });
    expect(await stored('MAYFLY_EVENTS')).toBe(1);
  });

  it('never sends what does not fit the contract or belongs to another service', async () => {
    await onlyAudit();
    const surplus = { ...newEvent('policy', 'session.opened', {}), secret: 'x' } as MayflyEvent;
    expect(await failure(policy.publish(surplus))).toEqual({ code: 'internal', reason: 'internal error' });
    expect(await failure(policy.publish(newEvent('minting', 'credential.intended', {})))).toMatchObject({
      code: 'internal',
    });
    expect(await stored('MAYFLY_EVENTS')).toBe(0);
  });

  it('refuses with dependency_unavailable when the stream is missing, full or gone', async () => {
    const event = () => newEvent('policy', 'session.opened', { reason: 'x'.repeat(1000) });
    expect(await failure(policy.publish(event()))).toMatchObject({ code: 'dependency_unavailable' });
    await onlyAudit({ maxBytes: { MAYFLY_EVENTS: 10_000 } });
    let refused: unknown;
    for (let count = 0; refused === undefined && count < 20; count++)
      refused = await failure(policy.publish(event()));
    expect(refused).toEqual({ code: 'dependency_unavailable', reason: 'the event log is full' });
    // Signals have a stream of their own, and nobody waits for them.
    await policy.signal(newEvent('policy', 'session.rejected', {}));
    expect(await stored('MAYFLY_SIGNALS')).toBe(1);
    await nats.kill();
    expect(await failure(policy.publish(event()))).toMatchObject({ code: 'dependency_unavailable' });
    const lost: string[] = [];
    const counting = new EventPublisher(connection, {
      service: 'policy',
      onSignalLost: (one) => lost.push(one.type),
    });
    await counting.signal(newEvent('policy', 'session.rejected', {}));
    expect(lost).toEqual(['dev.mayfly.session.rejected.v1']);
  });

  it('delivers in order and in batches, acknowledges, and tells the lag', async () => {
    await onlyAudit();
    const ids = await publish(250);
    const seen: string[] = [];
    const sizes: number[] = [];
    const lags: { messages: number }[][] = [];
    onEvents = async (batch) => {
      sizes.push(batch.length);
      seen.push(...batch.map(({ event }) => event.id));
      lags.push(await server.lag());
    };
    await consume();
    await emptied();
    expect(seen).toEqual(ids);
    expect(Math.max(...sizes)).toBeGreaterThan(1);
    // Those in the handler's hands count until they are acknowledged.
    expect(lags[0]).toContainEqual({
      stream: 'MAYFLY_EVENTS',
      consumer: 'audit-events',
      messages: 250,
    });
    await waitUntil('no lag', async () => (await server.lag())[0]?.messages === 0, { deadlineMs: 5_000 });
    expect(server.isReady()).toBe(true);
  });

  it('delivers a lone message at once, and gathers what follows it', async () => {
    await onlyAudit();
    const sizes: number[] = [];
    onEvents = (batch) => void sizes.push(batch.length);
    await consume();
    await waitUntil('the consumer', () => server.isReady(), { deadlineMs: 5_000 });
    await publish(1);
    await waitUntil('the first', () => sizes.length === 1, { deadlineMs: 5_000 });
    await publish(20);
    await emptied();
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(21);
    expect(sizes[0]).toBe(1);
    expect(sizes.length).toBeLessThan(12);
  });

  it.each([1, 3])('shows in the trace of the event that it was processed, in a batch of %i', async (size) => {
    await onlyAudit();
    const events = Array.from({ length: size }, () =>
      newEvent('policy', 'session.opened', {}, { traceparent }),
    );
    for (const event of events) await policy.publish(event);
    spans.reset();
    const sizes: number[] = [];
    onEvents = (batch) => void sizes.push(batch.length);
    await consume();
    await emptied();
    expect(sizes).toEqual([size]);
    const processed = () => spans.getFinishedSpans().filter((span) => span.name === 'process audit-events');
    const [, leaseTrace, issuanceSpan] = traceparent.split('-');
    const own = processed().filter((span) => span.spanContext().traceId === leaseTrace);
    expect(own.map((span) => span.parentSpanContext?.spanId)).toEqual(events.map(() => issuanceSpan));
    const batch = processed().filter((span) => span.spanContext().traceId !== leaseTrace);
    expect(batch.map((span) => span.links.length)).toEqual(size === 1 ? [] : [size]);
  });

  it('delivers again what a handler threw on', async () => {
    await onlyAudit();
    await publish(1);
    const redeliveries: number[] = [];
    onEvents = ([first]) => {
      redeliveries.push(first?.redeliveries ?? -1);
      if (redeliveries.length < 2) throw new Error('database is down');
    };
    await consume();
    await emptied();
    expect(redeliveries).toEqual([0, 1]);
  });

  it('puts poison aside, with its reason, and processes the rest of the batch', async () => {
    await onlyAudit();
    const [good, thrown, rejected, last] = await publish(4);
    await connection.request('mayfly.events.session.opened', 'not an event', { timeout: 2_000 });
    const forged = JSON.stringify(newEvent('policy', 'session.closed', {}));
    await connection.request('mayfly.events.session.opened', forged, { timeout: 2_000 });
    const done = new Set<string>();
    onEvents = (batch) => {
      for (const delivery of batch) {
        if (delivery.event.id === thrown) throw new PoisonMessage('cannot be stored');
        if (delivery.event.id === rejected) delivery.reject('will not\nbe stored');
        else done.add(delivery.event.id);
      }
    };
    const letters: string[] = [];
    await consume({ onDeadLetter: (consumer, reason) => letters.push(`${consumer}: ${reason}`) });
    await emptied();
    expect([...done]).toEqual([good, last]);
    expect(letters).toHaveLength(4);
    expect(await stored('MAYFLY_DEAD')).toBe(4);
    const origin = ['Mayfly-Stream', 'Mayfly-Subject', 'Mayfly-Consumer', 'Mayfly-Reason'];
    const told: string[] = [];
    for (let seq = 1; seq <= 4; seq++) {
      const letter = await manager.streams.getMessage('MAYFLY_DEAD', { seq });
      told.push(origin.map((name) => letter?.header.get(name)).join(' '));
    }
    const from = 'MAYFLY_EVENTS mayfly.events.session.opened audit-events';
    const reasons = [
      'cannot be stored',
      'not JSON',
      'the type does not belong to the subject',
      'will not?be stored',
    ];
    expect(told.sort()).toEqual(reasons.map((reason) => `${from} ${reason}`));
  });

  it('keeps a poison message that cannot be put aside', async () => {
    await onlyAudit();
    await manager.streams.delete('MAYFLY_DEAD');
    await connection.request('mayfly.events.session.opened', 'not an event', { timeout: 2_000 });
    await consume();
    await waitUntil(
      'a failed attempt',
      async () => (await manager.consumers.info('MAYFLY_EVENTS', 'audit-events')).num_redelivered > 0,
      { deadlineMs: 10_000 },
    );
    expect(await stored('MAYFLY_EVENTS')).toBe(1);
    await declareTopology(connection);
    await waitUntil('the dead letter', async () => (await stored('MAYFLY_DEAD')) === 1, {
      deadlineMs: 20_000,
    });
  }, 40_000);

  it('loses nothing when nats-server is killed in the middle, and goes on by itself', async () => {
    await onlyAudit();
    const seen = new Set<string>();
    onEvents = async (batch) => {
      for (const { event } of batch) seen.add(event.id);
      if (seen.size < 300) await new Promise((resolve) => setImmediate(resolve));
    };
    // What was acknowledged while the server died comes again; not after 30 s here.
    await manager.consumers.update('MAYFLY_EVENTS', 'audit-events', { ack_wait: nanos(2_000) });
    await consume();
    const before = await publish(300);
    await nats.kill();
    await nats.restart();
    await waitUntil('the connection', async () => (await connection.rtt().catch(() => -1)) >= 0, {
      deadlineMs: 15_000,
    });
    let after: string[] = [];
    await waitUntil('publishing again', async () => (after = await publish(50)).length > 0, {
      deadlineMs: 15_000,
    });
    await waitUntil('all events', () => [...before, ...after].every((id) => seen.has(id)), {
      deadlineMs: 45_000,
    });
    await emptied();
  }, 90_000);

  it('is not ready before its consumer exists, then starts by itself', async () => {
    const ids: string[] = [];
    onEvents = (batch) => void ids.push(...batch.map(({ event }) => event.id));
    await consume();
    expect(server.isReady()).toBe(false);
    await onlyAudit();
    await waitUntil('the consumer', () => server.isReady(), { deadlineMs: 15_000 });
    const [id] = await publish(1);
    await waitUntil('the event', () => ids.includes(id ?? ''), { deadlineMs: 5_000 });
  }, 30_000);

  it('counts the signals that a full stream dropped while nobody listened', async () => {
    await onlyAudit({ maxBytes: { MAYFLY_SIGNALS: 20_000 } });
    await publish(200, 'session.rejected');
    const kept = await stored('MAYFLY_SIGNALS');
    expect(kept).toBeLessThan(200);
    let seen = 0;
    let gap = 0;
    onSignals = (batch) => void (seen += batch.length);
    await consume({ onGap: (_, count) => (gap += count) });
    await waitUntil('the signals', () => seen === kept, { deadlineMs: 10_000 });
    expect(gap).toBe(200 - kept);
  });

  it('shares the work between replicas, and gives back what a stopping one has not begun', async () => {
    await onlyAudit();
    await publish(100);
    let finish: (() => void) | undefined;
    const held = new Promise<void>((resolve) => (finish = resolve));
    let started = false;
    onEvents = async () => {
      started = true;
      await held;
    };
    await consume();
    await waitUntil('the first batch', () => started, { deadlineMs: 5_000 });
    await publish(20);
    const stopping = app?.close();
    finish?.();
    await stopping;
    const seen: string[] = [];
    onEvents = (batch) => void seen.push(...batch.map(({ event }) => event.id));
    await consume();
    // What the server was about to send when the first one unsubscribed is lost, and comes again after `ackWaitMs`.
    await emptied(ackWaitMs + 20_000);
    expect(seen.length).toBeLessThan(120);
  }, 90_000);

  it('refuses to start with a consumer of another service, or an event handler without one', async () => {
    @Controller()
    class Foreign {
      @Consumes('policy-leases')
      leases() {
        return undefined;
      }
    }
    @Controller()
    class Unnamed {
      @EventPattern('mayfly.events.session.closed')
      closed(event: unknown) {
        void event;
        return undefined;
      }
    }
    @Controller()
    class Twice {
      @Consumes('audit-events')
      one() {
        return undefined;
      }
      @Consumes('audit-events')
      two() {
        return undefined;
      }
    }
    for (const controller of [Foreign, Unnamed, Twice]) {
      await expect(consume({}, controller)).rejects.toThrow(/belongs to|must be the only one/);
      app = undefined;
    }
  });
});
