import { describe, expect, it } from '@jest/globals';
import { busOperations, eventSubject, eventTypes, signalTypes, subjectOf } from '@mayfly/contracts';
import { accountsConfig } from './accounts-config.ts';
import { accountOf, busAccounts, logAccount } from './accounts.ts';
import { natsPermissions } from './permissions.ts';
import { consumers } from './topology.ts';
import type { ConsumerDefinition } from './topology.ts';

const accounts = busAccounts();
const account = (name: string) => accounts.find((one) => one.name === name);
const importersOf = (subject: string) =>
  accounts.filter(({ imports }) => imports.some((one) => one.subject === subject)).map(({ name }) => name);

describe('busAccounts', () => {
  it('has nobody in the account of the streams, and one user in every other', () => {
    expect(account(logAccount)?.user).toBeUndefined();
    expect(accounts.flatMap(({ user }) => user?.name ?? []).sort()).toEqual(
      Object.keys(natsPermissions()).sort(),
    );
  });

  it('takes every operation from its service to its callers, and to nobody else', () => {
    for (const operation of busOperations) {
      expect(importersOf(subjectOf(operation)).sort()).toEqual(operation.bus.callers.map(accountOf).sort());
      expect(account(accountOf(operation.bus.service))?.exports).toContainEqual({
        subject: subjectOf(operation),
        to: expect.arrayContaining(operation.bus.callers.map(accountOf)) as unknown,
        streamed: false,
      });
    }
  });

  it('takes every event and signal from its one publisher to the streams', () => {
    for (const type of [...eventTypes, ...signalTypes])
      expect(importersOf(eventSubject(type))).toHaveLength(1);
  });

  it('takes the pulls and acknowledgements of every consumer to its service alone', () => {
    for (const [name, { service, stream }] of Object.entries<ConsumerDefinition>(consumers)) {
      for (const subject of [`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, `$JS.ACK.${stream}.${name}.>`])
        expect(importersOf(subject)).toEqual([accountOf(service)]);
    }
  });

  it('exports exactly what is imported, to exactly those who import it, and no wildcard but acknowledgements', () => {
    for (const { name, exports } of accounts) {
      for (const { subject, to } of exports) {
        expect(to).toEqual(importersOf(subject));
        expect(to).not.toContain(name);
        if (name !== logAccount || !/^\$JS\.(?:ACK|API\.CONSUMER\.CREATE)\./u.test(subject))
          expect(subject).not.toMatch(/[*>]/u);
      }
      for (const { subject, from } of account(name)?.imports ?? [])
        expect(account(from)?.exports.find((one) => one.subject === subject)?.to).toContain(name);
    }
  });
});

describe('accountsConfig', () => {
  const nkeys = Object.fromEntries(
    accounts.flatMap(({ user }) => (user === undefined ? [] : [[user.name, `U${user.name}`]])),
  );

  it('gives what is stored a name that nobody can have answers sent to', () => {
    const text = accountsConfig(nkeys);
    expect(text).toContain(
      '"mayfly.events.credential.intended": "$JS.ACK.mayfly.events.credential.intended"',
    );
    expect(text).not.toMatch(/to: "mayfly\.(?:events|signals|dead)\./u);
  });

  it('refuses to go without the key of a user', () => {
    expect(() => accountsConfig({ ...nkeys, audit: undefined } as never)).toThrow(
      'There is no NATS key for audit.',
    );
  });
});
