/** Whatever is changed of a stream or a consumer is found by the services that use it, and changed back by the set-up step. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ServiceName } from '@mayfly/contracts';
import type { NatsConnection } from '@nats-io/transport-node';
import { connectBus } from './connection.ts';
import { declareTopology } from './declare-topology.ts';
import { callJetStream } from './jetstream-api.ts';
import type { StreamInfo } from './jetstream-api.ts';
import { startNatsServer } from './local-nats-server.ts';
import type { LocalNatsServer } from './local-nats-server.ts';
import { topologyProblems } from './topology-check.ts';
import { declaredConsumer, declaredStream } from './topology-config.ts';

describe('I8: a topology that somebody changed', () => {
  let nats: LocalNatsServer;
  let setup: NatsConnection;
  const services = new Map<ServiceName, NatsConnection>();

  // One for all: every test leaves it as it was, but for the last.
  beforeAll(async () => {
    nats = await startNatsServer({ enforced: true });
    setup = await connectBus({ servers: nats.url, service: 'setup', seedFile: nats.seedFile('setup') });
    for (const service of ['policy', 'minting', 'revocation', 'audit'] as const) {
      const seedFile = nats.seedFile(service);
      services.set(service, await connectBus({ servers: nats.url, service, seedFile }));
    }
    await declareTopology(setup);
  });
  afterAll(async () => {
    await Promise.all([setup, ...services.values()].map((connection) => connection.close()));
    await nats.stop();
  });

  async function problemsOf(service: ServiceName) {
    const connection = services.get(service);
    if (connection === undefined) throw new Error(`${service} is not connected`);
    return (await topologyProblems(connection, service)).map(
      ({ object, kind, sentence }) => `${object} ${kind}: ${sentence}`,
    );
  }
  async function allProblems(): Promise<string[]> {
    return (await Promise.all([...services.keys()].map(problemsOf))).flat();
  }

  it.each([
    ['max_msgs', 1],
    ['max_msgs_per_subject', 1],
    ['max_msg_size', 10],
    ['max_bytes', 100_000],
    ['max_age', 1_000_000_000_000],
    ['discard', 'old'],
    ['duplicate_window', 100_000_000],
    ['republish', { src: 'mayfly.events.>', dest: 'elsewhere.>' }],
    ['subjects', ['mayfly.events.session.>']],
    ['allow_direct', true],
    ['allow_rollup_hdrs', true],
    ['description', 'mine'],
    ['no_ack', true],
  ])('%s of a stream is found by all who use it and changed back by the set-up', async (field, value) => {
    const answer = await callJetStream<StreamInfo>(setup, 'STREAM.UPDATE.MAYFLY_EVENTS', {
      ...declaredStream('MAYFLY_EVENTS', {}),
      [field]: value,
    });
    // What the server does not let be changed can't be found either.
    if ('refused' in answer) {
      expect([field, answer.refused.description]).toEqual([field, expect.any(String)]);
      expect(['allow_rollup_hdrs', 'no_ack', 'republish']).toContain(field);
      return;
    }
    for (const service of services.keys())
      expect(await problemsOf(service)).toContainEqual(
        expect.stringContaining(`MAYFLY_EVENTS changed: MAYFLY_EVENTS is not as declared: ${field} is `),
      );
    expect(await declareTopology(setup)).toEqual([
      expect.stringContaining(`MAYFLY_EVENTS was changed: ${field}`),
    ]);
    expect(await allProblems()).toEqual([]);
  });

  it.each([
    ['ack_wait', 1_000_000_000],
    ['max_ack_pending', 1],
    ['max_deliver', 1],
    ['filter_subject', 'mayfly.events.session.closed'],
    ['headers_only', true],
    ['inactive_threshold', 3_600_000_000_000],
    ['max_batch', 1],
    ['max_expires', 1_000_000_000],
    ['description', 'mine'],
    ['sample_freq', '100'],
  ])('%s of a consumer is found by its service and changed back by the set-up', async (field, value) => {
    const evil = { ...declaredConsumer('audit-events', {}), [field]: value };
    const answer = await callJetStream(setup, 'CONSUMER.CREATE.MAYFLY_EVENTS.audit-events', {
      stream_name: 'MAYFLY_EVENTS',
      config: evil,
    });
    expect(answer).toHaveProperty('ok');
    expect(await problemsOf('audit')).toEqual([expect.stringContaining(`audit-events changed: `)]);
    expect(await problemsOf('audit')).toEqual([expect.stringContaining(`${field} is `)]);
    expect(await declareTopology(setup)).toEqual([
      expect.stringContaining(`audit-events was changed: ${field}`),
    ]);
    expect(await allProblems()).toEqual([]);
  });

  it('an upgrade that changes the topology is the same as a change back, and is told', async () => {
    // As a version had it before removals were denied, and with another limit.
    const older = { ...declaredStream('MAYFLY_SIGNALS', {}), max_age: 3_600_000_000_000 };
    await callJetStream(setup, 'STREAM.UPDATE.MAYFLY_SIGNALS', older);
    expect(await declareTopology(setup)).toEqual([
      'MAYFLY_SIGNALS was changed: max_age is 3600000000000 instead of 604800000000000.',
    ]);
    expect(await declareTopology(setup)).toEqual([]);
    expect(await allProblems()).toEqual([]);
  });

  it('sizes that a deployment chose are expected by services that were told of them, and a change to others', async () => {
    const options = { maxBytes: { MAYFLY_EVENTS: 5_000_000 }, ackWaitMs: 7_000 };
    await declareTopology(setup, options);
    const audit = services.get('audit');
    if (audit === undefined) throw new Error('audit is not connected');
    expect(await topologyProblems(audit, 'audit', options)).toEqual([]);
    expect((await topologyProblems(audit, 'audit')).map(({ object }) => object).sort()).toEqual([
      'MAYFLY_EVENTS',
      'audit-events',
      'audit-signals',
    ]);
    await declareTopology(setup);
  });

  it('a sealed stream is found, and the set-up says that it must be made anew', async () => {
    await callJetStream(setup, 'STREAM.UPDATE.MAYFLY_DEAD', {
      ...declaredStream('MAYFLY_DEAD', {}),
      sealed: true,
    });
    expect(await problemsOf('audit')).toEqual([expect.stringContaining('sealed is true instead of unset')]);
    await expect(declareTopology(setup)).rejects.toThrow(/MAYFLY_DEAD could not be made as declared: .*anew/);
  });
});
