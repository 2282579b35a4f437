import { describe, expect, it } from '@jest/globals';
import {
  declaredConsumer,
  declaredStream,
  describeDifferences,
  differences,
  topologyEnvironment,
  topologyOptionsOf,
} from './topology-config.ts';

const declared = declaredStream('MAYFLY_EVENTS', {});

describe('differences', () => {
  it('takes what is off, empty or the server’s own note for the same', () => {
    const found = {
      ...declared,
      sealed: false,
      compression: 'none',
      consumer_limits: {},
      allow_direct: false,
      template_owner: '',
      sources: [],
      metadata: { '_nats.ver': '2.15.1' },
    };
    expect(differences(declared, found)).toEqual([]);
  });

  it.each([
    ['mirror', { name: 'OTHER' }],
    ['sources', [{ name: 'OTHER' }]],
    ['subject_transform', { src: '>', dest: 'x.>' }],
    ['republish', { src: '>', dest: 'x.>' }],
    ['sealed', true],
    ['retention', 'limits'],
    ['storage', 'memory'],
    ['num_replicas', 3],
    ['max_consumers', 1],
    ['compression', 's2'],
    ['metadata', { '_nats.ver': '2.15.1', mine: 'x' }],
    ['a_field_of_a_newer_server', 7],
    ['deny_purge', false],
    ['max_msgs', undefined],
  ])('finds %s', (field, value) => {
    expect(differences(declared, { ...declared, [field]: value }).map((one) => one.field)).toEqual([field]);
  });

  it.each([
    ['deliver_subject', 'somewhere'],
    ['deliver_group', 'x'],
    ['filter_subjects', ['a', 'b']],
    ['filter_subject', 'mayfly.events.session.opened'],
    ['pause_until', '2030-01-01T00:00:00Z'],
    ['backoff', [1]],
    ['mem_storage', true],
    ['ack_policy', 'none'],
  ])('finds %s of a consumer', (field, value) => {
    const consumer = declaredConsumer('policy-leases', {});
    expect(differences(consumer, { ...consumer, [field]: value }).map((one) => one.field)).toEqual([field]);
  });

  it('says what is and what should be', () => {
    expect(describeDifferences(differences(declared, { ...declared, max_msgs: 1 }))).toBe(
      'max_msgs is 1 instead of -1',
    );
  });
});

it('the settings of a deployment say the same to the set-up step and to every service', () => {
  const options = { maxBytes: { MAYFLY_EVENTS: 1, MAYFLY_DEAD: 2 }, replicas: 3, ackWaitMs: 4 };
  const environment = Object.entries(topologyEnvironment(options)).map(([name, value]) => [
    name,
    Number(value),
  ]);
  expect(topologyOptionsOf(Object.fromEntries(environment) as never)).toEqual(options);
});
