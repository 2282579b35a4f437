import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { createUser } from '@nats-io/nkeys';
import { connect, nkeyAuthenticator, type NatsConnection } from '@nats-io/transport-node';
import { busAccounts, connectBus, declareTopology, EventPublisher, newEvent } from '@mayfly/messaging';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startNats, type OwnNats } from './start-nats.ts';

const users = busAccounts().flatMap(({ user }) => (user === undefined ? [] : [user.name]));
const seeds = new Map(users.map((name) => [name, createUser()]));
const nkeys = Object.fromEntries([...seeds].map(([name, key]) => [name, key.getPublicKey()]));

describe('startNats with an account per service', () => {
  let nats: OwnNats;
  const connections: NatsConnection[] = [];
  async function connectAs(name: (typeof users)[number]): Promise<NatsConnection> {
    const seed = seeds.get(name)?.getSeed() ?? new Uint8Array();
    const connection = await connect({
      servers: nats.url,
      authenticator: nkeyAuthenticator(seed),
      inboxPrefix: `_INBOX_${name}`,
      reconnect: false,
    });
    connections.push(connection);
    return connection;
  }
  beforeAll(async () => {
    nats = await startNats({ nkeys });
  });
  afterAll(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await nats.stop();
  });

  it('lets a service answer what it was asked from another account, although it may publish to no inbox', async () => {
    const [asking, answering] = await Promise.all([connectAs('gateway'), connectAs('policy')]);
    answering.subscribe('mayfly.rpc.policy.decide', {
      queue: 'policy',
      callback: (_error, message) => void message.respond('yes'),
    });
    await answering.flush();
    expect((await asking.request('mayfly.rpc.policy.decide', '', { timeout: 2_000 })).string()).toBe('yes');
  });

  it('gives each request to one of several replicas, and all of them have some', async () => {
    const asking = await connectAs('revocation');
    const counts = [0, 0, 0];
    for (const [index] of counts.entries()) {
      const replica = await connectAs('minting');
      replica.subscribe('mayfly.rpc.minting.revoke', {
        queue: 'minting',
        callback: (_error, message) => {
          counts[index] = (counts[index] ?? 0) + 1;
          message.respond('');
        },
      });
      await replica.flush();
    }
    for (let asked = 0; asked < 90; asked++) await asking.request('mayfly.rpc.minting.revoke', '');
    expect(counts.reduce((sum, count) => sum + count)).toBe(90);
    expect(Math.min(...counts)).toBeGreaterThan(0);
  });

  it('admits nobody without a key', async () => {
    await expect(connect({ servers: nats.url, reconnect: false })).rejects.toThrow(
      /authorization violation/iu,
    );
  });
});

it('takes over the streams of a bus that had one account for all, with what waits in them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-nats-adopt-'));
  const seedFile = (name: string): string => join(folder, `${name}.nk`);
  for (const [name, key] of seeds) writeFileSync(seedFile(name), key.getSeed(), { mode: 0o600 });
  try {
    const before = await startNats({ dataDirectory: join(folder, 'nats') });
    const anyone = await connectBus({ servers: before.url, service: 'minting' });
    await declareTopology(anyone);
    const event = newEvent('minting', 'credential.intended', {});
    await new EventPublisher(anyone, { service: 'minting' }).publish(event);
    await anyone.close();
    await before.stop();

    const after = await startNats({ dataDirectory: join(folder, 'nats'), nkeys });
    const setup = await connectBus({ servers: after.url, service: 'setup', seedFile: seedFile('setup') });
    expect(await declareTopology(setup)).toEqual([]);
    await setup.close();
    const minting = await connectBus({
      servers: after.url,
      service: 'minting',
      seedFile: seedFile('minting'),
    });
    // The stream knows its id, and the consumer has it still to come.
    expect(await new EventPublisher(minting, { service: 'minting' }).publish(event)).toEqual({
      duplicate: true,
    });
    await minting.close();
    const revocation = await connectBus({
      servers: after.url,
      service: 'revocation',
      seedFile: seedFile('revocation'),
    });
    const info = await revocation.request('$JS.API.CONSUMER.INFO.MAYFLY_EVENTS.revocation-intents');
    expect(info.json()).toMatchObject({ num_pending: 1 });
    await revocation.close();
    await after.stop();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);

describe('startNats', () => {
  it('keeps its streams over a kill and a restart on the same port', async () => {
    const nats = await startNats();
    try {
      const before = await connect({ servers: nats.url, reconnect: false });
      const manager = await jetstreamManager(before);
      await manager.streams.add({ name: 'KEPT', subjects: ['kept.>'] });
      await before.close();
      nats.kill('SIGKILL');
      await nats.process().exited;
      await nats.restart();
      const after = await connect({ servers: nats.url, reconnect: false });
      expect((await (await jetstreamManager(after)).streams.info('KEPT')).config.subjects).toEqual([
        'kept.>',
      ]);
      await after.close();
    } finally {
      await nats.stop();
    }
  });
});
