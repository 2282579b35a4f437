import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bus, busOperations, MayflyError, subjectOf } from '@mayfly/contracts';
import {
  BusClient,
  connectBus,
  declareTopology,
  EventPublisher,
  JetStreamServer,
  newEvent,
  RpcServer,
} from '@mayfly/messaging';
import { startNats, waitUntil, type OwnNats } from '@mayfly/stack';
import { createLogger } from '@mayfly/telemetry';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { NestFactory } from '@nestjs/core';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import { v7 as uuidv7 } from 'uuid';
import { Hearing } from './sessions/hearing.ts';
import { loseAtReconnects } from './sessions/lose-at-reconnects.ts';
import { runPolicy, sourceIp, type RunningPolicy } from './spec-support/running-policy.ts';
import { analyst, twoOrganizations } from './spec-support/two-organizations.ts';

const logger = createLogger({ service: 'policy', level: 'silent' });
let nats: OwnNats;
let connections: NatsConnection[] = [];
let policy: RunningPolicy;
let app: NestFastifyApplication | undefined;
let gateway: BusClient;
let revocation: EventPublisher;

beforeAll(async () => {
  nats = await startNats();
  const connect = async (service: 'policy' | 'gateway' | 'revocation') => {
    const connection = await connectBus({ servers: nats.url, service });
    connections.push(connection);
    return connection;
  };
  const connection = await connect('policy');
  await declareTopology(connection);
  gateway = new BusClient(await connect('gateway'));
  revocation = new EventPublisher(await connect('revocation'), { service: 'revocation' });
  policy = await runPolicy(twoOrganizations, {
    connection,
    client: new BusClient(connection),
    publisher: new EventPublisher(connection, { service: 'policy' }),
  });
  app = await NestFactory.create<NestFastifyApplication>(policy.module, new FastifyAdapter(), {
    logger: false,
    abortOnError: false,
  });
  app.connectMicroservice({ strategy: new RpcServer({ connection, service: 'policy', logger }) });
  app.connectMicroservice({ strategy: new JetStreamServer({ connection, service: 'policy', logger }) });
  await app.startAllMicroservices();
  // Subscriptions are only sent by now; this waits until the server has them, as readiness does.
  await connection.flush();
  await app.init();
}, 30_000);

afterAll(async () => {
  await app?.close();
  await policy?.stop({ closed: app !== undefined });
  await Promise.all(connections.map((connection) => connection.close()));
  connections = [];
  await nats?.stop();
});

const opened = async () => {
  const { access_token } = await gateway.call(bus.policy.exchangeToken, {
    subject_token: await policy.seal(await policy.identity(analyst)),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    reply_key: policy.replyKey.publicJwk,
    source_ip: sourceIp,
  });
  return policy.seal(await policy.replyKey.open(access_token));
};
const decide = (token: string, credential: string) =>
  gateway.call(bus.policy.decide, {
    token,
    credential,
    reply_key: policy.replyKey.publicJwk,
    source_ip: sourceIp,
  });
const streamCount = async (subject: string) => {
  const [connection] = connections;
  if (connection === undefined) return 0;
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const info = await manager.streams.info(
    subject.startsWith('mayfly.signals') ? 'MAYFLY_SIGNALS' : 'MAYFLY_EVENTS',
    { subjects_filter: subject },
  );
  return info.state.subjects?.[subject] ?? 0;
};

describe('policy on the bus', () => {
  it('has heard nothing while the bus was away, so nobody counts as unheard for that time', async () => {
    const [connection] = connections;
    if (connection === undefined) throw new Error('not connected');
    const hearing = new Hearing(performance.now() - 600_000, 3_600_000);
    loseAtReconnects(connection, hearing);
    await connection.reconnect();
    await waitUntil('the loss', () => hearing.secondsAt(performance.now()) < 500, { deadlineMs: 5_000 });
    await connection.flush();
  });

  it('answers every operation that its contract declares', async () => {
    const own = busOperations.filter((operation) => operation.bus.service === 'policy');
    expect(own).toHaveLength(18);
    for (const operation of own) {
      // Whatever it answers, somebody answers.
      const answer = await connections[1]?.request(subjectOf(operation), '[]', { timeout: 2_000 });
      expect(JSON.parse(answer?.string() ?? '')).toHaveProperty(['error', 'code'], 'invalid_request');
    }
  });

  it('opens a session, allows, refuses and ends it; events and signals reach their streams', async () => {
    const token = await opened();
    expect(await decide(token, 'tool/read')).toMatchObject({ decision: 'allow', recipient: 'gateway' });
    expect(await decide(token, 'tool/none')).toMatchObject({ decision: 'deny', code: 'not_found' });
    const { assertion } = await gateway.call(bus.policy.endSession, { token, source_ip: sourceIp });
    expect(assertion).toBeDefined();
    const refused: unknown = await decide(token, 'tool/read').catch((error: unknown) => error);
    expect(refused instanceof MayflyError && refused.code).toBe('unauthenticated');
    for (const subject of [
      'mayfly.events.session.opened',
      'mayfly.events.session.closed',
      'mayfly.events.config.applied',
      'mayfly.signals.request.denied',
    ]) {
      await waitUntil(subject, async () => (await streamCount(subject)) > 0, { deadlineMs: 5_000 });
    }
  });

  it('frees a limit when revocation tells of the end of a lease, however the events are ordered', async () => {
    const token = await opened();
    const answers = await Promise.all([1, 2, 3].map(() => decide(token, 'tool/limited')));
    expect(await decide(token, 'tool/limited')).toMatchObject({ code: 'limit_exceeded' });
    const lease = answers.flatMap((answer) => (answer.decision === 'allow' ? [answer.lease_id] : []))[0];
    for (const type of ['credential.revoked', 'credential.issued'] as const) {
      await revocation.publish(newEvent('revocation', type, { lease_id: lease ?? uuidv7() }));
    }
    const isFree = async () => (await decide(token, 'tool/limited')).decision === 'allow';
    await waitUntil('the freed limit', isFree, { deadlineMs: 5_000 });
    expect(await decide(token, 'tool/limited')).toMatchObject({ code: 'limit_exceeded' });
  });
});
