import { describe, expect, it } from '@jest/globals';
import { mayUseReference, SecretReference } from './secret-reference.ts';

describe('SecretReference', () => {
  it.each(['env:ORDERS_URL', 'env:_x1', 'file:/run/secrets/acme/orders', 'file:/run/secrets/a b'])(
    'takes %s',
    (reference) => {
      expect(SecretReference.safeParse(reference).success).toBe(true);
    },
  );

  it.each([
    'postgres://admin:hunter2@db/orders',
    'hunter2',
    'env:',
    'env:9X',
    'env:A-B',
    'env:A B',
    'file:secret',
    'file:',
    'file:/',
    'file:/run/../etc/shadow',
    'file:/run/./x',
    'file:/run//x',
    'file:/run/x/',
    'file:/run/x\0',
    'https://vault/x',
    'ENV:X',
  ])('refuses %j', (reference) => {
    expect(SecretReference.safeParse(reference).success).toBe(false);
  });
});

it('a refusal never repeats what may be a secret', () => {
  const parsed = SecretReference.safeParse('postgres://admin:hunter2@db/orders');
  expect(parsed.error?.message).not.toContain('hunter2');
});

describe('mayUseReference', () => {
  const prefixes = [
    'env:ORDERS_',
    'file:/run/secrets/acme/',
    'file:/run/secrets/orders-',
    'file:/etc/orders.key',
  ];

  it.each([
    'env:ORDERS_ADMIN_URL',
    'file:/run/secrets/acme/a/b',
    'file:/etc/orders.key',
    // As docs/configuration.md has it, and minting reads it: a prefix that ends within a name.
    'file:/run/secrets/orders-db',
    'file:/etc/orders.key.bak',
  ])('allows %s', (reference) => {
    expect(mayUseReference(reference, prefixes)).toBe(true);
  });

  it.each([
    'env:ORDER',
    'env:OTHER_URL',
    'file:/run/secrets/acme-other/x',
    'file:/run/secrets/acme/../other/x',
    'file:/run/secrets/acme/',
    'file:/run/secrets/order',
    'file:/run/secrets/orders-/../acme-other/x',
    'file:/etc/passwd',
  ])('refuses %s', (reference) => {
    expect(mayUseReference(reference, prefixes)).toBe(false);
  });

  it('refuses everything without a prefix', () => {
    expect(mayUseReference('env:ORDERS_ADMIN_URL', [])).toBe(false);
  });
});
