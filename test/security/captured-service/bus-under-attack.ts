/** The honest side: every service connected, answering and publishing, and what can be seen of streams, consumers and answers. */
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  busOperations,
  eventSubject,
  presenceSubject,
  serviceNames,
  subjectOf,
  type ServiceName,
} from '@mayfly/contracts';
import {
  connectBus,
  consumers,
  EventPublisher,
  eventPublishers,
  newEvent,
  type BusUser,
  type ConsumerDefinition,
} from '@mayfly/messaging';
import { fromSeed } from '@nats-io/nkeys';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { Server } from './setup.ts';
import { consumerEntries, streamNames, users } from './subjects.ts';

/** How many messages a stream has of each subject. */
export type Stock = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What JetStream tells of a consumer, but for what it has still to come. */
export interface ConsumerState {
  readonly config: unknown;
  readonly created: string;
  readonly delivered: { readonly consumer_seq: number; readonly stream_seq: number };
  readonly ack_floor: { readonly consumer_seq: number; readonly stream_seq: number };
  readonly num_ack_pending: number;
}

export class BusUnderAttack {
  /** How often each operation was asked for. */
  readonly asked = new Map<string, number>();
  /** What came to an honest user's inbox without having been asked for. */
  readonly strays: string[] = [];
  readonly #honest = new Map<BusUser, NatsConnection>();
  readonly #captured: NatsConnection[] = [];
  #pulls = 0;

  private constructor(readonly server: Server) {}

  static async open(server: Server): Promise<BusUnderAttack> {
    const world = new BusUnderAttack(server);
    for (const user of users) {
      const connection = await world.#connect(user);
      world.#honest.set(user, connection);
      connection.subscribe(`_INBOX_${user}.some.reply`, {
        callback: (_error, message) => {
          world.strays.push(`${user} got ${message.string().slice(0, 200)}`);
        },
      });
    }
    for (const operation of busOperations) {
      const { service } = operation.bus;
      world.#answer(subjectOf(operation), service, { queue: service });
    }
    const answering = new Set(busOperations.map(({ bus: on }) => on.service));
    for (const service of answering) world.#answer(presenceSubject(service), service, {});
    await Promise.all([...world.#honest.values()].map((connection) => connection.flush()));
    return world;
  }

  honest(user: BusUser): NatsConnection {
    const connection = this.#honest.get(user);
    if (connection === undefined) throw new Error(`${user} is not connected.`);
    return connection;
  }

  /** One more connection with a user's key: that of somebody who has captured it. */
  async capture(
    user: BusUser,
    options: { reconnect: boolean } = { reconnect: true },
  ): Promise<NatsConnection> {
    const connection = await (options.reconnect ? this.#connect(user) : this.#connectOnce(user));
    this.#captured.push(connection);
    return connection;
  }

  /** Every service publishes one of each of its events, and each consumer has one message out that nobody has acknowledged. */
  async makeTraffic(): Promise<void> {
    for (const service of serviceNames) await this.publishAll(service);
    for (const [name] of consumerEntries) await this.pull(name, 1);
  }

  async publishAll(service: ServiceName): Promise<void> {
    const publisher = new EventPublisher(this.honest(service), { service });
    await Promise.all(
      eventPublishers[service].map((type) =>
        publisher.publish(newEvent(service, type, { reason: canaryOf(eventSubject(type)) })),
      ),
    );
  }

  /** So many messages of a consumer, as its service gets them; not acknowledged. Fails after 5 s. */
  async pull(name: string, count: number): Promise<string[]> {
    const { service, stream } = consumers[name as keyof typeof consumers] as ConsumerDefinition;
    const connection = this.honest(service);
    const inbox = `_INBOX_${service}.pull.${String(++this.#pulls)}`;
    const got: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${name} got ${String(got.length)} of ${String(count)}`)),
        5_000,
      );
      connection.subscribe(inbox, {
        callback: (_error, message) => {
          if (message.subject === inbox) return;
          got.push(message.subject);
          if (got.length < count) return;
          clearTimeout(timer);
          resolve();
        },
      });
      connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`,
        JSON.stringify({ batch: count, expires: 5_000_000_000 }),
        { reply: inbox },
      );
    });
    return got;
  }

  async stock(): Promise<Stock> {
    const entries = streamNames.map(async (stream) => {
      const reply = await this.honest('audit').request(
        `$JS.API.STREAM.INFO.${stream}`,
        JSON.stringify({ subjects_filter: '>' }),
      );
      const { state } = reply.json<{ state: { subjects?: Record<string, number> } }>();
      return [stream, state.subjects ?? {}] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  }

  /** The configurations of the streams, as the server tells. */
  async streamConfigs(): Promise<unknown[]> {
    return Promise.all(
      streamNames.map(async (stream) => {
        const reply = await this.honest('audit').request(`$JS.API.STREAM.INFO.${stream}`);
        const { config, created } = reply.json<{ config: unknown; created: string }>();
        return { config, created };
      }),
    );
  }

  /** Of the consumers of every service but one. */
  async consumersBut(user: BusUser): Promise<Record<string, ConsumerState>> {
    const others = consumerEntries.filter(([, { service }]) => service !== user);
    const entries = others.map(async ([name, { service, stream }]) => {
      const reply = await this.honest(service).request(`$JS.API.CONSUMER.INFO.${stream}.${name}`);
      const {
        config,
        created,
        delivered,
        ack_floor: floor,
        num_ack_pending: pending,
      } = reply.json<ConsumerState>();
      const position = ({ consumer_seq, stream_seq }: ConsumerState['delivered']) => ({
        consumer_seq,
        stream_seq,
      });
      return [
        name,
        {
          config,
          created,
          delivered: position(delivered),
          ack_floor: position(floor),
          num_ack_pending: pending,
        },
      ] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#honest.values(), ...this.#captured].map((connection) => connection.close()));
  }

  #connect(user: BusUser): Promise<NatsConnection> {
    const seedFile = join(this.server.keysFolder, user, 'nats.nk');
    return connectBus({ servers: this.server.url, service: user, seedFile });
  }

  /** Is refused at once, and not tried again, where the server has no place for it. */
  #connectOnce(user: BusUser): Promise<NatsConnection> {
    const key = fromSeed(readFileSync(join(this.server.keysFolder, user, 'nats.nk')).subarray(0, 58));
    if (!('getRawSeed' in key)) throw new Error('this key has no seed');
    const rawSeed = (key.getRawSeed as () => Uint8Array).call(key);
    // The client's own signing takes a tenth of a second, and there are many; RFC 8410 §7 is how Node takes the key.
    const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), rawSeed]);
    const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const authenticator = (nonce?: string) => ({
      nkey: key.getPublicKey(),
      sig: sign(null, Buffer.from(nonce ?? ''), privateKey).toString('base64url'),
    });
    return connect({
      servers: this.server.url,
      authenticator,
      inboxPrefix: `_INBOX_${user}`,
      reconnect: false,
    });
  }

  /** Answers like `RpcServer`: whatever reply subject the request carries. */
  #answer(subject: string, service: ServiceName, group: { queue?: string }): void {
    this.asked.set(subject, 0);
    this.honest(service).subscribe(subject, {
      ...group,
      callback: (_error, message) => {
        this.asked.set(subject, (this.asked.get(subject) ?? 0) + 1);
        if (message.reply) message.respond(JSON.stringify({ ok: {} }));
      },
    });
  }
}

/** A text that is in every event of a subject and nowhere else. */
export function canaryOf(subject: string): string {
  return `canary<${subject}>`;
}
