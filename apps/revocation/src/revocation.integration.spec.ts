import 'reflect-metadata';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bus, busOperations, eventSubject, MayflyEvent, subjectOf } from '@mayfly/contracts';
import {
  BusClient,
  connectBus,
  declareTopology,
  EventPublisher,
  JetStreamServer,
  newEvent,
  RpcServer,
} from '@mayfly/messaging';
import { startNats, type OwnNats } from '@mayfly/stack';
import { createLogger, createMetrics, withSpan } from '@mayfly/telemetry';
import { keyFiles } from '@mayfly/tokens';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { NestFactory } from '@nestjs/core';
import type { NatsConnection } from '@nats-io/transport-node';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { AlwaysOnSampler, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import {
  activateInput,
  grantClaims,
  openWorld,
  organization,
  traceparent,
  until,
  type World,
} from './register-fixtures.ts';
import { RevocationModule } from './revocation.module.ts';
import { RevocationSettings } from './settings.ts';

const exporter = new InMemorySpanExporter();
const sdk = new NodeSDK({
  sampler: new AlwaysOnSampler(),
  spanProcessors: [new SimpleSpanProcessor({ exporter })],
  autoDetectResources: false,
  metricReaders: [],
  logRecordProcessors: [],
});

describe('revocation on the bus', () => {
  const logger = createLogger({ service: 'revocation', level: 'silent' });
  const metrics = createMetrics('revocation');
  const connections: NatsConnection[] = [];
  const told: MayflyEvent[] = [];
  let nats: OwnNats;
  let keys: string;
  let world: World;
  let app: NestFastifyApplication;
  let gateway: BusClient;
  let minting: BusClient;
  let mintingEvents: EventPublisher;
  let policyEvents: EventPublisher;

  beforeAll(async () => {
    sdk.start();
    world = await openWorld();
    nats = await startNats();
    const connect = async (service: 'revocation' | 'gateway' | 'minting' | 'policy') => {
      const connection = await connectBus({ servers: nats.url, service });
      connections.push(connection);
      return connection;
    };
    const connection = await connect('revocation');
    await declareTopology(connection);
    gateway = new BusClient(await connect('gateway'));
    const mintingConnection = await connect('minting');
    minting = new BusClient(mintingConnection);
    mintingEvents = new EventPublisher(mintingConnection, { service: 'minting' });
    policyEvents = new EventPublisher(await connect('policy'), { service: 'policy' });
    // Minting, as far as an end needs it.
    mintingConnection.subscribe(subjectOf(bus.minting.revokeAtProvider), {
      callback: (_, message) => {
        message.respond(JSON.stringify({ ok: { outcome: 'revoked' } }));
      },
    });
    mintingConnection.subscribe('mayfly.events.>', {
      callback: (_, message) => {
        told.push(MayflyEvent.parse(message.json()));
      },
    });

    keys = await mkdtemp(join(tmpdir(), 'mayfly-revocation-keys-'));
    const files = keyFiles(keys);
    await mkdir(dirname(files.public.grant), { recursive: true });
    await writeFile(files.public.grant, JSON.stringify(await world.keys.grants.publicJwks()));
    await writeFile(files.public.assertion, JSON.stringify(await world.keys.assertions.publicJwks()));
    const settings = RevocationSettings.parse({
      MAYFLY_NATS_URL: nats.url,
      MAYFLY_KEYS: keys,
      MAYFLY_POSTGRES_URL: world.database.url,
    });
    const module = await RevocationModule.register(
      {
        service: 'revocation',
        logger,
        metrics,
        connection,
        client: new BusClient(connection),
        publisher: new EventPublisher(connection, { service: 'revocation' }),
        keys: files,
        addReadinessCheck: () => undefined,
      },
      settings,
    );
    app = await NestFactory.create<NestFastifyApplication>(module, new FastifyAdapter(), {
      logger: false,
      abortOnError: false,
    });
    app.connectMicroservice({ strategy: new RpcServer({ connection, service: 'revocation', logger }) });
    app.connectMicroservice({ strategy: new JetStreamServer({ connection, service: 'revocation', logger }) });
    await app.startAllMicroservices();
    await app.init();
  }, 30_000);

  afterAll(async () => {
    await app?.close();
    await Promise.all(connections.map((connection) => connection.close()));
    await nats?.stop();
    await world?.close();
    await rm(keys, { recursive: true, force: true });
    await sdk.shutdown();
  });

  const toldOf = (leaseId: string) =>
    told.filter((event) => event.subject === leaseId).map((event) => event.type.split('.')[3]);
  const issue = async (changes?: Parameters<typeof grantClaims>[0]) => {
    const claims = grantClaims(changes);
    const input = activateInput(await world.sign(claims));
    await minting.call(bus.revocation.activate, input);
    return { leaseId: claims.jti, issuance: input.issuance_traceparent };
  };

  it('answers every operation that its contract declares', async () => {
    const own = busOperations.filter((operation) => operation.bus.service === 'revocation');
    expect(own).toHaveLength(16);
    for (const operation of own) {
      const answer = await connections[1]?.request(subjectOf(operation), '{}', { timeout: 2_000 });
      expect(JSON.parse(answer?.string() ?? '')).toHaveProperty(['error', 'code'], 'invalid_request');
    }
  });

  it('activates, ends on request and tells both, all in the trace of the issuance', async () => {
    const { leaseId, issuance } = await issue();
    const assertion = await world.assert({ action: 'end_lease', lease_id: leaseId, reason: 'given back' });
    let cause = '';
    const outcome = await withSpan('request', {}, (span) => {
      cause = span.spanContext().traceId;
      return gateway.call(bus.revocation.endLease, { assertion });
    });
    expect(outcome).toEqual({ lease_id: leaseId, outcome: 'revoked' });
    await until(() => toldOf(leaseId).length === 2);
    expect(toldOf(leaseId)).toEqual(['issued', 'revoked']);

    const spans = exporter.getFinishedSpans();
    const end = spans.find(
      (span) => span.name === 'lease.revoke' && span.attributes['mayfly.lease.id'] === leaseId,
    );
    expect(end?.spanContext().traceId).toBe(issuance.slice(3, 35));
    expect(end?.parentSpanContext?.spanId).toBe(issuance.slice(36, 52));
    expect(end?.links.map((link) => link.context.traceId)).toEqual([cause]);
    const call = spans.find((span) => span.parentSpanContext?.spanId === end?.spanContext().spanId);
    expect(call?.name).toBe(`send ${subjectOf(bus.minting.revokeAtProvider)}`);
    const revoked = told.find((event) => event.subject === leaseId && event.type.includes('revoked'));
    expect(revoked?.data).toMatchObject({ trace_id: issuance.slice(3, 35), event_trace_id: cause });
  });

  it('ends what a revocation names in the trace of each issuance, linked to whoever revoked', async () => {
    const user = 'traced@acme.test';
    const issued = [await issue({ actor: { user } }), await issue({ actor: { user } })];
    const subject = { kind: 'user', id: user } as const;
    const assertion = await world.assert(
      { action: 'revoke', subject, reason: 'leak' },
      { administrator: true },
    );
    let cause = '';
    const answer = await withSpan('request', {}, (span) => {
      cause = span.spanContext().traceId;
      return gateway.call(bus.revocation.revoke, { assertion });
    });
    expect(answer).toMatchObject({ matched: 2, revoked: 2 });
    for (const { leaseId, issuance } of issued) {
      const end = exporter
        .getFinishedSpans()
        .find((span) => span.name === 'lease.revoke' && span.attributes['mayfly.lease.id'] === leaseId);
      expect(end?.spanContext().traceId).toBe(issuance.slice(3, 35));
      expect(end?.links.map((link) => link.context.traceId)).toEqual([cause]);
    }
    const ofRevocation = () => told.filter(({ subject: about }) => about === answer.revocation_id);
    await until(() => ofRevocation().length === 2);
    expect(ofRevocation().map(({ type }) => type.split('.')[3])).toEqual(['requested', 'completed']);
    expect(ofRevocation().map(({ data }) => data.trace_id)).toEqual([cause, cause]);
  });

  it('takes intents and closed sessions from the event log', async () => {
    const { jti, actor, credential, provider } = grantClaims();
    const event = newEvent(
      'minting',
      'credential.intended',
      {
        organization,
        lease_id: jti,
        session_id: actor.session_id,
        agent_id: actor.agent_id,
        credential,
        provider,
        ttl_seconds: 60,
        config_version: 1,
      },
      { subject: jti, traceparent: traceparent() },
    );
    await mintingEvents.publish(event, { messageId: jti });
    await until(async () => (await world.row(jti))?.['state'] === 'intended');

    const session_id = randomUUID();
    const { leaseId } = await issue({ actor: { session_id } });
    await policyEvents.publish(newEvent('policy', 'session.closed', { organization, session_id }));
    await until(() => toldOf(leaseId).includes('revoked'));
    expect(eventSubject('session.closed')).toBe('mayfly.events.session.closed');
  });

  it.each([
    ['block', 'block.added', { kind: 'user', id: 'blocked@acme.test' }],
    ['removal', 'config.removed', { kind: 'credential', id: 'orders-db/gone' }],
  ] as const)('takes what policy orders with a %s from the event log', async (_what, type, subject) => {
    const { leaseId } = await issue({ actor: { user: 'blocked@acme.test' }, credential: 'orders-db/gone' });
    const order = {
      organization,
      session_id: randomUUID(),
      agent_id: 'spiffe://acme.test/person/ann',
      reason: 'strange',
      action_context: { subject },
      revocation_id: randomUUID(),
    };
    await policyEvents.publish(newEvent('policy', type, order));
    await until(() => toldOf(leaseId).includes('revoked'));
    await until(() => toldOf(order.revocation_id).length === 2);
    expect(toldOf(order.revocation_id)).toEqual(['requested', 'completed']);
  });

  it('shows live leases by state, lateness and what waits in the outbox', async () => {
    await issue();
    const text = await metrics.metrics();
    expect(text).toMatch(/mayfly_live_leases\{.*state="active".*\} [1-9]/);
    expect(text).toMatch(/mayfly_live_leases\{.*state="revocation_failed".*\} 0/);
    expect(text).toMatch(/mayfly_due_lag_seconds\{.*\} 0/);
    expect(text).toMatch(/mayfly_outbox_pending/);
  });

  it('shows in the first scrape what is so at that moment', async () => {
    const { leaseId } = await issue();
    await world.database.pool.query(
      `UPDATE revocation.leases SET last_error = 'provider_unavailable' WHERE lease_id = $1`,
      [leaseId],
    );
    expect(await metrics.metrics()).toMatch(/mayfly_failing_leases\{work="end".*\} 1/);
  });
});
