/**
 * I9, I2, I8: what somebody can do on the bus who has captured one service, or the set-up user, and has its key: everything that the protocol
 * lets it send, to every subject and with every reply subject. Nothing of the others is read, written, purged, deleted, answered or
 * silenced. See README.md.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import {
  busOperations,
  eventSubject,
  presenceSubject,
  serviceNames,
  subjectOf,
  type ServiceName,
} from '@mayfly/contracts';
import { eventPublishers, natsPermissions, topologyProblems, type BusUser } from '@mayfly/messaging';
import { headers as newHeaders, type NatsConnection } from '@nats-io/transport-node';
import { BusUnderAttack, canaryOf, type Stock } from './bus-under-attack.ts';
import type { Server } from './setup.ts';
import {
  consumerEntries,
  everyListening,
  everyReply,
  everySubject,
  someReplies,
  streamNames,
  users,
} from './subjects.ts';

const servers = JSON.parse(process.env['MAYFLY_CAPTURED_SERVERS'] ?? '[]') as Server[];

/** The subjects that a user's own events and dead letters are stored under. */
function ownSubjects(user: BusUser): string[] {
  if (user === 'setup') return [];
  const consumes = consumerEntries.some(([, { service }]) => service === user);
  return [...eventPublishers[user].map(eventSubject), ...(consumes ? [`mayfly.dead.${user}`] : [])];
}

/** What there is more or less of than before, under subjects that are not the user's own. */
function changedStock(before: Stock, after: Stock, user: BusUser): string[] {
  const own = new Set(ownSubjects(user));
  return streamNames.flatMap((stream) => {
    const subjects = new Set([...Object.keys(before[stream] ?? {}), ...Object.keys(after[stream] ?? {})]);
    return [...subjects].flatMap((subject) => {
      const [had, has] = [before[stream]?.[subject] ?? 0, after[stream]?.[subject] ?? 0];
      const isChanged = own.has(subject) ? has < had : has !== had;
      return isChanged ? [`${stream} ${subject}: ${String(had)} -> ${String(has)}`] : [];
    });
  });
}

/** Whether a user may see events of that subject. */
function mayRead(user: BusUser, subject: string): boolean {
  return consumerEntries.some(([, { service, stream, filter }]) => {
    if (service !== user) return false;
    if (stream !== (subject.startsWith('mayfly.signals.') ? 'MAYFLY_SIGNALS' : 'MAYFLY_EVENTS')) return false;
    return filter === undefined || filter === subject || subject.startsWith(filter.replace(/\*$/u, ''));
  });
}

it('there is a server to attack', () => {
  expect(servers.length).toBeGreaterThan(0);
});

describe.each(servers)('nats-server $version: $user, captured,', (server) => {
  const { user } = server;
  let bus: BusUnderAttack;
  beforeAll(async () => {
    bus = await BusUnderAttack.open(server);
    await bus.makeTraffic();
  }, 60_000);
  afterAll(() => bus.close());

  /** What comes to a captured connection, whatever it is. */
  function listenIn(connection: NatsConnection, user: BusUser): string[] {
    const heard: string[] = [];
    connection.subscribe(`_INBOX_${user}.>`, {
      callback: (_error, message) => {
        heard.push(`${message.subject} ${message.string()}`);
      },
    });
    return heard;
  }

  /** Runs an attack and tells everything that it has changed of the others'. */
  async function harmOf(
    user: BusUser,
    attack: (captured: NatsConnection) => Promise<void>,
  ): Promise<string[]> {
    const captured = await bus.capture(user);
    const heard = listenIn(captured, user);
    const before = {
      stock: await bus.stock(),
      configs: await bus.streamConfigs(),
      consumers: await bus.consumersBut(user),
      asked: new Map(bus.asked),
    };
    bus.strays.length = 0;
    await attack(captured);
    await captured.flush();
    // What is on its way inside the server and at the responders: a request of each that is answered is behind it.
    await settle();
    const harm = [
      ...changedStock(before.stock, await bus.stock(), user),
      ...bus.strays.filter((stray) => !stray.startsWith(`${user} `)).map((stray) => `an inbox: ${stray}`),
    ];
    const mayCall = new Set(
      busOperations
        // Its own replicas hear what it says to itself.
        .filter(({ bus: on }) => on.callers.includes(user as ServiceName) || on.service === user)
        .flatMap((operation) => [subjectOf(operation), presenceSubject(operation.bus.service)]),
    );
    for (const [subject, count] of bus.asked)
      if (!mayCall.has(subject) && count !== before.asked.get(subject)) harm.push(`asked for ${subject}`);
    if (JSON.stringify(await bus.streamConfigs()) !== JSON.stringify(before.configs))
      harm.push('a stream was changed');
    const consumersAfter = await bus.consumersBut(user);
    for (const [name, state] of Object.entries(before.consumers))
      if (JSON.stringify(consumersAfter[name]) !== JSON.stringify(state))
        harm.push(`${name}: ${JSON.stringify(state)} -> ${JSON.stringify(consumersAfter[name])}`);
    for (const service of serviceNames)
      for (const { sentence } of await topologyProblems(bus.honest(service), service)) harm.push(sentence);
    const read = [...heard.join('\n').matchAll(/canary<([^>]+)>/gu)].map(([, subject = '']) => subject);
    harm.push(
      ...new Set(read.filter((subject) => !mayRead(user, subject)).map((subject) => `read ${subject}`)),
    );
    return harm;
  }

  /** Everything that was sent before has been dealt with once each responder and each stream has answered again. */
  async function settle(): Promise<void> {
    for (let round = 0; round < 2; round++) {
      for (const service of serviceNames) {
        const honest = bus.honest(service);
        await honest.flush();
        const [callable] = busOperations.filter(({ bus: on }) => on.callers.includes(service));
        if (callable) {
          const subject = subjectOf(callable);
          await honest.request(subject, '{}', { timeout: 5_000 });
          bus.asked.set(subject, (bus.asked.get(subject) ?? 0) - 1);
        }
      }
      await bus.stock();
    }
  }

  it('publishes everywhere, asking for answers everywhere, and does no harm', async () => {
    const harm = await harmOf(user, async (captured) => {
      for (const subject of everySubject) {
        captured.publish(subject, '');
        captured.publish(subject, '{}');
        // What may not be sent at all is refused whatever answer it asks for.
        for (const reply of someReplies) captured.publish(subject, '', { reply });
        await captured.flush();
      }
    });
    expect(harm).toEqual([]);
  }, 120_000);

  it('asks for what it may with every kind of payload and every reply subject, and does no harm', async () => {
    const own = natsPermissions()[user].publish;
    const payloads = [
      '',
      '+ACK',
      '{"batch":2,"no_wait":true}',
      '{"name":"MAYFLY_EVENTS","seq":1,"filter":"mayfly.>","keep":0}',
      canaryOf('forged'),
    ];
    const harm = await harmOf(user, async (captured) => {
      for (const subject of own) {
        for (const payload of payloads)
          for (const reply of everyReply) captured.publish(subject, payload, { reply });
        await captured.flush();
      }
    });
    expect(harm).toEqual([]);
  }, 120_000);

  it('sends headers that servers know, and does no harm', async () => {
    const forged: [string, string][] = [
      ['Nats-Request-Info', JSON.stringify({ acc: 'MAYFLY_LOG', svc: 'MAYFLY_LOG' })],
      ['Nats-Request-Info', JSON.stringify({ acc: '$SYS', svc: '$SYS' })],
      ['Nats-Trace-Dest', 'mayfly.events.credential.issued'],
      ['Nats-Trace-Dest', '$JS.API.STREAM.PURGE.MAYFLY_EVENTS'],
      ['Nats-Rollup', 'all'],
      ['Nats-Rollup', 'sub'],
      ['Nats-TTL', '1s'],
      ['Nats-Schedule', '@at 2020-01-01T00:00:00Z'],
      ['Nats-Schedule-Target', 'mayfly.events.credential.issued'],
      ['Nats-Batch-Id', 'x'],
      ['Nats-Incr', '1'],
      ['Nats-Stream-Source', 'MAYFLY_EVENTS 1'],
    ];
    const subjects = [...natsPermissions()[user].publish, '$JS.API.STREAM.PURGE.MAYFLY_EVENTS'];
    const harm = await harmOf(user, async (captured) => {
      for (const subject of subjects)
        for (const [name, value] of forged) {
          const headers = newHeaders();
          headers.set(name, value);
          captured.publish(subject, '{}', { headers, reply: `_INBOX_${user}.mine` });
        }
      await captured.flush();
    });
    expect(harm).toEqual([]);
  });

  it('listens everywhere and hears nothing that is not its own', async () => {
    const captured = await bus.capture(user);
    const heard: string[] = [];
    const subscriptions = [];
    for (const subject of everyListening)
      for (const queue of [undefined, user, 'eavesdropper', ...serviceNames])
        subscriptions.push(
          captured.subscribe(subject, {
            ...(queue === undefined ? {} : { queue }),
            callback: (error, message) => {
              if (error === null && !isOwn(message.subject)) heard.push(message.subject);
            },
          }),
        );
    await captured.flush();
    // All that goes on while it listens: requests with their answers, events, pulls.
    for (const service of serviceNames) {
      await bus.publishAll(service);
      const honest = bus.honest(service);
      for (const operation of busOperations.filter(({ bus: on }) => on.callers.includes(service)))
        // The captured replica may get requests of its own service, and does not answer.
        if (operation.bus.service !== user)
          await honest.request(subjectOf(operation), '{}', { timeout: 5_000 });
    }
    await captured.flush();
    for (const subscription of subscriptions) subscription.unsubscribe();
    await captured.flush();
    expect(heard).toEqual([]);
    function isOwn(subject: string): boolean {
      return (
        [`_INBOX_${user}.`, `mayfly.rpc.${user}.`].some((own) => subject.startsWith(own)) ||
        mayRead(user, subject)
      );
    }
  }, 60_000);

  it('takes what it can of connections, subscriptions and pulls, and the others have theirs', async () => {
    const captured: NatsConnection[] = [];
    const full: unknown[] = [];
    while (full.length === 0 && captured.length < 1_000)
      await bus.capture(user, { reconnect: false }).then(
        (connection) => captured.push(connection),
        (error: unknown) => full.push(error),
      );
    // The server closes the socket, so the error is of any kind; the honest replica and those of the tests above count too.
    expect(full).toHaveLength(1);
    expect(captured.length).toBeLessThan(128);
    const [first] = captured;
    for (let count = 0; count < 2_000; count++) first?.subscribe(`_INBOX_${user}.${String(count)}`);
    for (const [name, { service, stream }] of consumerEntries)
      if (service === user)
        for (let count = 0; count < 2_000; count++)
          first?.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, '{"batch":1,"expires":5000000000}', {
            reply: `_INBOX_${user}.nobody`,
          });
    await first?.flush().catch(() => undefined);
    for (const other of users) if (other !== user) await (await bus.capture(other)).close();
    await expectAllToWork(user);
    await Promise.all(captured.map((connection) => connection.close()));
  }, 60_000);

  /** Every other service still calls, is answered, publishes, and gets what was published. */
  async function expectAllToWork(except: BusUser): Promise<void> {
    for (const service of serviceNames) {
      await bus.publishAll(service);
      for (const operation of busOperations.filter(({ bus: on }) => on.callers.includes(service)))
        expect(
          (await bus.honest(service).request(subjectOf(operation), '{}', { timeout: 5_000 })).json(),
        ).toEqual({
          ok: {},
        });
    }
    for (const [name, { service }] of consumerEntries)
      if (service !== except) expect(await bus.pull(name, 1)).toHaveLength(1);
  }

  it('after all that, everybody does what it is there for', async () => {
    await expectAllToWork(user);
  });
});
