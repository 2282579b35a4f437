/**
 * I9: no service can publish or subscribe outside its subjects, nor read another's replies. On the stack's own nats-server,
 * with the services' own keys, as somebody has them who has captured one service. A stack of its own, because what a captured
 * service may do, such as events that say nothing, would disturb the others' tests.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  bus,
  busOperations,
  eventSubject,
  eventTypes,
  serviceNames,
  signalTypes,
  subjectOf,
  type ServiceName,
} from '@mayfly/contracts';
import {
  BusClient,
  connectBus,
  consumers,
  EventPublisher,
  eventPublishers,
  natsPermissions,
  newEvent,
  streams,
  type ConsumerDefinition,
} from '@mayfly/messaging';
import { openSession, startWholeStack, type TestStack } from '@mayfly/testing';
import { connect, nkeys, PermissionViolationError, type NatsConnection } from '@nats-io/transport-node';

const users = [...serviceNames, 'setup'] as const;
type User = (typeof users)[number];
const rpcServices = serviceNames.filter((name) => busOperations.some(({ bus: on }) => on.service === name));
const streamNames = Object.keys(streams);
const consumerEntries = Object.entries<ConsumerDefinition>(consumers);

describe('I9: on the bus of a running stack', () => {
  let stack: TestStack;
  const connections = new Map<User, NatsConnection>();
  const refusals = new Map<User, PermissionViolationError[]>();

  beforeAll(async () => {
    stack = await startWholeStack();
    for (const user of users) connections.set(user, await connectAs(user));
  }, 60_000);

  afterAll(async () => {
    await Promise.all([...connections.values()].map((connection) => connection.close()));
    await stack.stop();
  });

  const seedFile = (user: User) => join(stack.keysFolder, user, 'nats.nk');

  async function connectAs(user: User): Promise<NatsConnection> {
    const connection = await connectBus({ servers: stack.natsUrl, service: user, seedFile: seedFile(user) });
    const seen: PermissionViolationError[] = [];
    refusals.set(user, seen);
    void (async () => {
      for await (const status of connection.status())
        if (status.type === 'error' && status.error instanceof PermissionViolationError)
          seen.push(status.error);
    })();
    return connection;
  }

  function connectionOf(user: User): NatsConnection {
    const connection = connections.get(user);
    if (connection === undefined) throw new Error(`${user} is not connected.`);
    return connection;
  }

  /** The subjects of a list that the server lets a user publish to. Its refusals come before its answer to a flush. */
  async function publishable(user: User, subjects: readonly string[]): Promise<string[]> {
    const allowed: string[] = [];
    for (const subject of subjects) {
      const before = refusals.get(user)?.length;
      connectionOf(user).publish(subject, '');
      await connectionOf(user).flush();
      await new Promise((resolve) => setImmediate(resolve));
      if (refusals.get(user)?.length === before) allowed.push(subject);
    }
    return allowed;
  }

  /** The subjects, with or without a queue group (`subject group`), that the server lets a user listen to. */
  async function listenable(user: User, subjects: readonly string[]): Promise<string[]> {
    const allowed: string[] = [];
    for (const entry of subjects) {
      const [subject = '', queue] = entry.split(' ');
      let refused = false;
      const subscription = connectionOf(user).subscribe(subject, {
        ...(queue === undefined ? {} : { queue }),
        callback: (error) => {
          refused ||= error !== null;
        },
      });
      await connectionOf(user).flush();
      await new Promise((resolve) => setImmediate(resolve));
      if (!refused) {
        allowed.push(entry);
        subscription.unsubscribe();
      }
    }
    return allowed;
  }

  describe.each(users)('%s', (user) => {
    const others = users.filter((other) => other !== user);

    it('listens to nothing but its own inbox and, in its own queue group, its own operations', async () => {
      const everything = [
        '>',
        '*',
        '*.>',
        'mayfly.>',
        'mayfly.*.>',
        '_INBOX.>',
        '_INBOX_*.>',
        '$JS.>',
        '$SYS.>',
      ];
      const broad = ['mayfly.rpc.>', 'mayfly.events.>', 'mayfly.signals.>', 'mayfly.dead.>', '$JS.ACK.>'];
      const ofOthers = [
        ...others.flatMap((other) => [`_INBOX_${other}.>`, `_INBOX_${other}.reply`, `_INBOX_${other}.*`]),
        ...rpcServices
          .filter((service) => service !== user)
          .flatMap((service) => [
            `mayfly.rpc.${service}.>`,
            `mayfly.rpc.${service}.> ${service}`,
            `mayfly.rpc.${service}.> ${user}`,
          ]),
        ...busOperations
          .filter(({ bus: on }) => on.service !== user)
          .map((operation) => `${subjectOf(operation)} ${operation.bus.service}`),
        // Its own operations outside its queue group: every replica's requests could be listened to.
        `mayfly.rpc.${user}.>`,
        `mayfly.rpc.${user}.> eavesdropper`,
        ...[...eventTypes, ...signalTypes].map(eventSubject),
        ...serviceNames.map((service) => `mayfly.dead.${service}`),
      ];
      expect(await listenable(user, [...everything, ...broad, ...ofOthers])).toEqual([]);
    });

    it('calls the operations that are for it, and no other', async () => {
      const own = busOperations.filter(({ bus: on }) => on.callers.includes(user as ServiceName));
      expect((await publishable(user, busOperations.map(subjectOf))).sort()).toEqual(
        own.map(subjectOf).sort(),
      );
      expect(
        await publishable(
          user,
          rpcServices.map((service) => `mayfly.rpc.${service}.invented`),
        ),
      ).toEqual([]);
    });

    it('publishes the events that are its own, and no other', async () => {
      const own = user === 'setup' ? [] : eventPublishers[user].map(eventSubject);
      const all = [...eventTypes, ...signalTypes].map(eventSubject);
      expect((await publishable(user, all)).sort()).toEqual([...own].sort());
      const invented = ['mayfly.events.credential.invented', 'mayfly.signals.invented', 'mayfly.other'];
      expect(await publishable(user, invented)).toEqual([]);
    });

    it('writes to no inbox, and stores dead letters under its own name only', async () => {
      const inboxes = users.map((other) => `_INBOX_${other}.some.reply`);
      const dead = serviceNames
        .filter((service) => service !== user)
        .map((service) => `mayfly.dead.${service}`);
      expect(await publishable(user, [...inboxes, '_INBOX.some.reply', ...dead])).toEqual([]);
    });

    it("neither changes nor empties streams and consumers, nor reads others'", async () => {
      const ofStreams = streamNames.flatMap((stream) =>
        // Creating and changing them is what the user setup is for; it is no service.
        [...(user === 'setup' ? [] : ['CREATE', 'UPDATE']), ...streamVerbs].map(
          (verb) => `$JS.API.STREAM.${verb}.${stream}`,
        ),
      );
      const ofConsumers = consumerEntries.flatMap(([name, { stream, service, filter }]) => [
        `$JS.API.CONSUMER.DELETE.${stream}.${name}`,
        `$JS.API.CONSUMER.LEADER.STEPDOWN.${stream}.${name}`,
        `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.${name}`,
        ...(user === 'setup'
          ? []
          : [`$JS.API.CONSUMER.CREATE.${stream}.${name}${filter === undefined ? '' : `.${filter}`}`]),
        ...(service === user
          ? []
          : [
              `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`,
              ...(user === 'setup' ? [] : [`$JS.API.CONSUMER.INFO.${stream}.${name}`]),
              `$JS.ACK.${stream}.${name}.1.1.1.1.0`,
            ]),
      ]);
      const inventions = streamNames.flatMap((stream) => [
        `$JS.API.CONSUMER.CREATE.${stream}`,
        `$JS.API.CONSUMER.CREATE.${stream}.mine`,
        `$JS.API.CONSUMER.CREATE.${stream}.mine.mayfly.>`,
        `$JS.API.CONSUMER.DURABLE.CREATE.${stream}.mine`,
        `$JS.API.CONSUMER.NAMES.${stream}`,
        `$JS.API.CONSUMER.LIST.${stream}`,
      ]);
      const general = [
        '$JS.API.STREAM.CREATE.MINE',
        '$JS.API.STREAM.NAMES',
        '$JS.API.STREAM.LIST',
        '$JS.API.INFO',
        '$SYS.REQ.SERVER.PING',
        '$SYS.REQ.ACCOUNT.PING.CONNZ',
        '$SYS.REQ.USER.INFO.x',
      ];
      expect(await publishable(user, [...ofStreams, ...ofConsumers, ...inventions, ...general])).toEqual([]);
    });

    it('does all that it is there for', async () => {
      const { publish, subscribe } = natsPermissions()[user];
      const concrete = publish.map((subject) => subject.replace('>', '1.1.1.1.0'));
      expect(await publishable(user, concrete)).toEqual(concrete);
      const own = subscribe.map((entry) => entry.replace('>', 'nothing-that-exists'));
      expect(await listenable(user, own)).toEqual(own);
    });
  });

  it("can not get an answer into a third one's hands, nor have its own inbox read", async () => {
    // The gateway asks for the keys of tool tokens; audit, captured, tries to listen to the answer.
    const heard: string[] = [];
    connectionOf('audit').subscribe('_INBOX_gateway.>', {
      callback: (error, message) => {
        if (error === null) heard.push(message.string());
      },
    });
    await connectionOf('audit').flush();
    const answer = await new BusClient(connectionOf('gateway')).call(bus.minting.toolTokenKeys, {});
    expect(answer.keys.length).toBeGreaterThan(0);
    await connectionOf('audit').flush();
    expect(heard).toEqual([]);
  });

  it('lets every publisher store its events', async () => {
    for (const service of serviceNames) {
      const publisher = new EventPublisher(connectionOf(service), { service });
      for (const type of eventPublishers[service])
        expect([type, await publisher.publish(newEvent(service, type, {}))]).toEqual([
          type,
          { duplicate: false },
        ]);
    }
  });

  it('admits nobody without a key, with an unknown key, or with a password', async () => {
    const refused = expect.stringMatching(/authorization/i) as unknown;
    const servers = stack.natsUrl;
    const none = { servers, reconnect: false, timeout: 5_000 };
    await expect(connect(none)).rejects.toMatchObject({ message: refused });
    await expect(connect({ ...none, user: 'gateway', pass: 'gateway' })).rejects.toMatchObject({
      message: refused,
    });
    await expect(connect({ ...none, token: 'gateway' })).rejects.toMatchObject({ message: refused });
    const folder = await mkdtemp(join(tmpdir(), 'mayfly-stranger-'));
    try {
      const seed = join(folder, 'nats.nk');
      await writeFile(seed, nkeys.createUser().getSeed(), { mode: 0o600 });
      await expect(connectBus({ servers, service: 'policy', seedFile: seed })).rejects.toMatchObject({
        message: refused,
      });
    } finally {
      await rm(folder, { recursive: true });
    }
    const admitted = await connectBus({ servers, service: 'policy', seedFile: seedFile('policy') });
    await admitted.close();
  });

  it('and the stack still works after all that', async () => {
    const agent = await openSession(stack);
    await expect(agent.lease('orders-db/readonly')).resolves.toBeDefined();
    for (const { url } of Object.values(stack.services))
      expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });
});

/** Everything that JetStream lets be done to a stream, but for reading how it is. */
const streamVerbs = [
  'DELETE',
  'PURGE',
  'MSG.GET',
  'MSG.DELETE',
  'SNAPSHOT',
  'RESTORE',
  'PEER.REMOVE',
  'LEADER.STEPDOWN',
];
