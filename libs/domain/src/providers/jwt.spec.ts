import { describe, expect, it } from '@jest/globals';
import { covers, jwtDefinition } from './jwt.ts';

describe('scope strings', () => {
  it.each([
    ['read:reports:*', 'read:reports:2024', true],
    ['read:reports:*', 'read:reports:2024:q1', true],
    ['read:reports:*', 'read:reports:*', true],
    ['*:*:*', 'write:reports:1', true],
    ['read:reports:2024', 'read:reports:*', false],
    ['read:reports:20*', 'read:reports:2024', false],
    ['read:reports:*', 'write:reports:2024', false],
    ['read:*:1', 'read:reports:2', false],
  ])('%s covers %s: %s', (bound, asked, expected) => {
    expect(covers(bound, asked)).toBe(expected);
  });

  it.each([
    ['read', false],
    ['read:reports', false],
    ['read:reports:', false],
    ['read:reports:a b', false],
    ['read:reports:"x"', false],
    ['read:reports:\n', false],
    ['read:reports:é', false],
    ['read:reports:a:b', true],
  ])('%j is well formed: %s', (scope, expected) => {
    expect(jwtDefinition.scope.safeParse({ scopes: [scope] }).success).toBe(expected);
  });

  it.each([
    [['read:reports:*', 'list:reports:*', 'get:a:b', 'view:a:b'], false],
    [['read:reports:*', 'write:reports:1'], true],
    [['*:reports:1'], true],
    [['READ:reports:1'], true],
  ])('%j writes: %s', (scopes, writes) => {
    expect(jwtDefinition.writes({ scopes })).toBe(writes);
  });

  it('says that a signed token can not be called back', () => {
    expect(jwtDefinition.revocability({ integration: { audience: 'x' }, credential: {} })).toEqual({
      kind: 'expiry_only',
    });
  });
});
