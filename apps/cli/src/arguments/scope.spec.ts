import { describe, expect, it } from '@jest/globals';
import { parseScope, scopeText } from './scope.ts';

describe('parseScope', () => {
  it('takes JSON as it is', () => {
    expect(parseScope(' {"privileges": ["SELECT"], "limit": 3}')).toEqual({
      privileges: ['SELECT'],
      limit: 3,
    });
  });

  it('takes lists by key, a part without a key belonging to the one before', () => {
    const scope = { privileges: ['SELECT', 'INSERT'], schemas: ['public'] };
    expect(parseScope('privileges=SELECT,INSERT,schemas=public')).toEqual(scope);
    expect(parseScope('privileges=SELECT, schemas=public, privileges=INSERT')).toEqual(scope);
    expect(parseScope('scopes=read:orders:*,read:a=b:1')).toEqual({
      scopes: ['read:orders:*', 'read:a=b:1'],
    });
  });

  it.each(['', 'SELECT', '=x', 'privileges=', 'privileges=SELECT,', '{"a":', '["SELECT"]'])(
    'refuses %j',
    (text) => {
      expect(() => parseScope(text)).toThrow();
    },
  );

  it('refuses JSON nested deeper than a scope may be', () => {
    expect(() => parseScope(`{"a":${'['.repeat(9)}${']'.repeat(9)}}`)).toThrow(/nested/);
  });
});

describe('scopeText', () => {
  it.each([
    { privileges: ['SELECT', 'INSERT'], schemas: ['public'] },
    { scopes: ['read:reports:*'] },
    { tables: ['public.a,b'] },
    { limit: 3, schemas: ['public'] },
    { schemas: [] },
    {},
  ])('%j can be given back to --scope', (scope) => {
    expect(parseScope(scopeText(scope))).toEqual(scope);
  });

  it('is short where it can be', () => {
    expect(scopeText({ privileges: ['SELECT'], schemas: ['public', 'sales'] })).toBe(
      'privileges=SELECT,schemas=public,sales',
    );
  });
});
