import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { createUser } from '@nats-io/nkeys';
import { connect, nkeyAuthenticator, type NatsConnection } from '@nats-io/transport-node';
import { natsUsers } from './nats-server-config.ts';
import { startNats, type OwnNats } from './start-nats.ts';

const asker = createUser();
const answerer = createUser();
const silent = createUser();

const permissions = {
  asker: { publish: ['ask.>'], subscribe: ['_INBOX_asker.>'], allowResponses: false },
  answerer: { publish: [], subscribe: ['ask.>'], allowResponses: true },
  silent: { publish: [], subscribe: [], allowResponses: false },
};

describe('startNats with one user per service', () => {
  let nats: OwnNats;
  const connections: NatsConnection[] = [];
  async function connectAs(user: typeof asker, inboxPrefix: string): Promise<NatsConnection> {
    const authenticator = nkeyAuthenticator(user.getSeed());
    const connection = await connect({ servers: nats.url, authenticator, inboxPrefix, reconnect: false });
    connections.push(connection);
    return connection;
  }
  beforeAll(async () => {
    const keys = {
      asker: asker.getPublicKey(),
      answerer: answerer.getPublicKey(),
      silent: silent.getPublicKey(),
    };
    nats = await startNats({ users: natsUsers(permissions, keys) });
  });
  afterAll(async () => {
    await Promise.all(connections.map((connection) => connection.close()));
    await nats.stop();
  });

  it('lets a service answer what it was asked, although it may publish nothing', async () => {
    const [asking, answering] = await Promise.all([
      connectAs(asker, '_INBOX_asker'),
      connectAs(answerer, '_INBOX_answerer'),
    ]);
    answering.subscribe('ask.>', { callback: (_error, message) => void message.respond('yes') });
    await answering.flush();
    expect((await asking.request('ask.this', '', { timeout: 2_000 })).string()).toBe('yes');
  });

  it('allows nothing to a user with empty lists', async () => {
    const connection = await connectAs(silent, '_INBOX_silent');
    const refused = new Promise<string>((resolve) => {
      connection.subscribe('ask.>', { callback: (error) => resolve(error?.message ?? 'a message') });
    });
    expect(await refused).toMatch(/permissions violation/iu);
    await expect(connection.request('ask.this', '', { timeout: 1_000 })).rejects.toThrow();
  });

  it('admits nobody without a key', async () => {
    await expect(connect({ servers: nats.url, reconnect: false })).rejects.toThrow(
      /authorization violation/iu,
    );
  });
});

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
