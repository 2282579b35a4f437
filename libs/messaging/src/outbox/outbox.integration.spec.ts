import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from '@jest/globals';
import type { MayflyEvent } from '@mayfly/contracts';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { connectBus } from '../connection.ts';
import { declareTopology } from '../declare-topology.ts';
import { newEvent } from '../events/new-event.ts';
import { EventPublisher } from '../events/publisher.ts';
import { startNatsServer, waitUntil } from '../local-nats-server.ts';
import type { LocalNatsServer } from '../local-nats-server.ts';
import { OutboxRelay } from './relay.ts';
import type { OutboxRelayOptions } from './relay.ts';
import { appendToOutbox, outboxTableSql } from './table.ts';

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'] ?? '';

describe('the outbox with a real Postgres and JetStream', () => {
  const database = `outbox_${uuidv7().replaceAll('-', '')}`;
  let pool: pg.Pool;
  let nats: LocalNatsServer;
  let connection: NatsConnection;
  let publisher: EventPublisher;
  let relays: OutboxRelay[] = [];

  async function asAdmin(sql: string) {
    const admin = new pg.Client(adminUrl);
    await admin.connect();
    await admin.query(sql).finally(() => admin.end());
  }
  function relay(more: Partial<OutboxRelayOptions> = {}) {
    const made = new OutboxRelay({ pool, schema: 'policy', publisher, logger, pollMs: 60_000, ...more });
    relays.push(made);
    made.start();
    return made;
  }
  async function append(count: number, reason = ''): Promise<MayflyEvent[]> {
    const events = Array.from({ length: count }, () => newEvent('policy', 'session.opened', { reason }));
    const client = await pool.connect();
    await client.query('begin');
    await appendToOutbox(client, 'policy', events);
    await client.query('commit');
    client.release();
    return events;
  }
  const left = async () =>
    (await pool.query<{ count: number }>('select count(*)::int as count from policy.outbox')).rows[0]?.count;
  const isEmpty = () =>
    waitUntil('the outbox to empty', async () => (await left()) === 0, { deadlineMs: 20_000 });
  const manager = () => jetstreamManager(connection, { checkAPI: false });
  async function storedIds(): Promise<string[]> {
    const { state } = await (await manager()).streams.info('MAYFLY_EVENTS');
    const ids: string[] = [];
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const message = await (await manager()).streams.getMessage('MAYFLY_EVENTS', { seq });
      ids.push(message?.json<MayflyEvent>().id ?? '');
    }
    return ids;
  }

  beforeAll(async () => {
    await asAdmin(`create database ${database}`);
    const url = new URL(adminUrl);
    url.pathname = `/${database}`;
    pool = new pg.Pool({ connectionString: url.href, max: 5 });
    await pool.query('create schema policy');
    await pool.query(outboxTableSql('policy'));
  });
  afterAll(async () => {
    await pool.end();
    await asAdmin(`drop database ${database} with (force)`);
  });
  beforeEach(async () => {
    await pool.query('truncate policy.outbox');
    nats = await startNatsServer();
    connection = await connectBus({ servers: nats.url, service: 'policy' });
    publisher = new EventPublisher(connection, { service: 'policy' });
    await declareTopology(connection);
  });
  afterEach(async () => {
    await Promise.all(relays.map((one) => one.stop()));
    relays = [];
    await connection.close();
    await nats.stop();
  });

  it('publishes in order what was committed, once nudged, and removes it', async () => {
    const pending: number[] = [];
    const running = relay({ batchSize: 40, onPending: (count) => pending.push(count) });
    const events = await append(100);
    running.nudge();
    await isEmpty();
    expect(await storedIds()).toEqual(events.map((event) => event.id));
    await waitUntil('the count', () => pending.length > 0);
  });

  it('finds by itself what a killed process has left', async () => {
    await append(3);
    relay({ pollMs: 50 });
    await isEmpty();
    await append(3);
    await isEmpty();
    expect(await storedIds()).toHaveLength(6);
  });

  it('publishes nothing of a transaction that was rolled back, and takes in nothing that breaks the contract', async () => {
    const client = await pool.connect();
    await client.query('begin');
    await appendToOutbox(client, 'policy', [newEvent('policy', 'session.opened', {})]);
    await client.query('rollback');
    const surplus = { ...newEvent('policy', 'session.opened', {}), secret: 'x' } as MayflyEvent;
    await expect(appendToOutbox(client, 'policy', [surplus])).rejects.toMatchObject({ code: 'internal' });
    client.release();
    expect(await left()).toBe(0);
  });

  it('publishes an event once although its acknowledgement was lost', async () => {
    const [event] = await append(1);
    if (event) await publisher.publish(event);
    relay();
    await isEmpty();
    expect(await storedIds()).toEqual([event?.id]);
  });

  it('waits for NATS without holding up the service, then loses nothing', async () => {
    await nats.kill();
    const before = await append(50);
    const running = relay({ pollMs: 50 });
    running.nudge();
    const started = performance.now();
    const during = await append(50);
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(await left()).toBe(100);
    await nats.restart();
    await isEmpty();
    expect((await storedIds()).sort()).toEqual([...before, ...during].map((event) => event.id).sort());
  }, 40_000);

  it('waits while the stream is full, and goes on when there is room', async () => {
    await declareTopology(connection, { maxBytes: { MAYFLY_EVENTS: 20_000 } });
    const events = await append(60, 'x'.repeat(800));
    relay({ pollMs: 50 });
    await waitUntil('some to be refused', async () => {
      const count = (await left()) ?? 0;
      return count > 0 && count < 60;
    });
    await declareTopology(connection);
    await isEmpty();
    expect((await storedIds()).sort()).toEqual(events.map((event) => event.id).sort());
  }, 40_000);

  it('may run in several replicas', async () => {
    const events = await append(500);
    for (let replica = 0; replica < 3; replica++) relay({ batchSize: 20, pollMs: 20 });
    await isEmpty();
    expect((await storedIds()).sort()).toEqual(events.map((event) => event.id).sort());
  });

  it('puts aside what can never be published', async () => {
    await pool.query(
      "insert into policy.outbox (event_id, message_id, event) values ($1, 'old', '{\"old\":1}')",
      [uuidv7()],
    );
    const [event] = await append(1);
    relay();
    await isEmpty();
    expect(await storedIds()).toEqual([event?.id]);
    const letter = await (await manager()).streams.getMessage('MAYFLY_DEAD', { seq: 1 });
    expect(letter?.header.get('Mayfly-Message-Id')).toBe('old');
    expect(letter?.string()).toBe('{"old":1}');
  });

  it('refuses a schema that would need quoting', () => {
    expect(() => outboxTableSql('policy; drop table x')).toThrow('not a schema name');
  });
});
