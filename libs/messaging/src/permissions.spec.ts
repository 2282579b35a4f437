import { describe, expect, it } from '@jest/globals';
import { busOperations, eventTypes, serviceNames, signalTypes, subjectOf } from '@mayfly/contracts';
import { natsPermissions } from './permissions.ts';
import { eventPublishers } from './topology.ts';

const permissions = natsPermissions();

describe('natsPermissions', () => {
  it('lets an operation be called by its callers and nobody else', () => {
    for (const operation of busOperations) {
      const may = serviceNames.filter((name) => permissions[name].publish.includes(subjectOf(operation)));
      expect(may.sort()).toEqual([...operation.bus.callers].sort());
    }
  });

  it('gives every event and signal exactly one publisher', () => {
    for (const type of [...eventTypes, ...signalTypes]) {
      expect(serviceNames.filter((name) => eventPublishers[name].includes(type))).toHaveLength(1);
    }
  });

  it('grants no service a wildcard to publish, acknowledgements included', () => {
    for (const name of serviceNames) {
      expect(permissions[name].publish.filter((subject) => /[*>]|^\$JS\.ACK/.test(subject))).toEqual([]);
    }
    for (const subject of permissions.setup.publish.filter((subject) => /[*>]/.test(subject))) {
      expect(subject).toMatch(/^\$JS\.API\.CONSUMER\.CREATE\.MAYFLY_/);
    }
  });

  it('lets a service subscribe to its own inbox and its own operations', () => {
    expect(permissions.gateway).toMatchObject({ subscribe: ['_INBOX_gateway.>'], allowResponses: false });
    expect(permissions.minting).toMatchObject({
      subscribe: ['_INBOX_minting.>', 'mayfly.rpc.minting.> minting', 'mayfly.rpc.minting.presence'],
      allowResponses: true,
    });
    expect(permissions.setup.subscribe).toEqual(['_INBOX_setup.>']);
  });

  it('lets the gateway publish nothing but requests', () => {
    expect(permissions.gateway.publish.every((subject) => subject.startsWith('mayfly.rpc.'))).toBe(true);
  });
});
