/** I4: whatever is asked, what comes out is never wider than the bounds. For every provider, over any input. */
import { describe, expect, it } from '@jest/globals';
import { text } from '@mayfly/contracts';
import fc from 'fast-check';
import type { NarrowResult } from './definition.ts';
import { covers, jwtDefinition, JwtScope } from './jwt.ts';
import { postgresDefinition, postgresPrivileges, PostgresScope } from './postgres.ts';
import { providerDefinitions } from './registry.ts';

/** Small alphabets, so that requests and bounds meet often. */
const schemaName = fc.constantFrom('public', 'sales', 'a.b', 'Public', 'public ', '__proto__', '*');
const tableName = fc.constantFrom(
  'public.orders',
  'public.users',
  'sales.orders',
  'sales.a.b',
  'other.x',
  'a.b.t',
);
const privilege = fc.constantFrom(...postgresPrivileges);
/** What requests name besides: privileges that PostgreSQL has and scopes have not. */
const anyPrivilege = fc.constantFrom(...postgresPrivileges, 'TRIGGER', 'MAINTAIN', 'ALL', 'ALL PRIVILEGES');

const postgresBounds = fc
  .record(
    {
      privileges: fc.uniqueArray(privilege, { minLength: 1 }),
      schemas: fc.uniqueArray(schemaName, { minLength: 1 }),
      tables: fc.uniqueArray(tableName, { minLength: 1 }),
    },
    { requiredKeys: ['privileges', 'schemas'] },
  )
  .filter((scope) => PostgresScope.safeParse(scope).success);

const scopePart = fc.constantFrom('*', 'read', 'write', 'reports', 'a*', '**', '2024', '__proto__');
const scopeString = fc
  .tuple(scopePart, scopePart, fc.oneof(scopePart, fc.constant('q1:draft')))
  .map((parts) => parts.join(':'));
const jwtBounds = fc.record({ scopes: fc.uniqueArray(scopeString, { minLength: 1, maxLength: 8 }) });

/** JSON as an enemy writes it, and values that are not JSON at all. */
const hostile = fc.oneof(
  fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withNullPrototype: true }),
  fc.json().map((json): unknown => JSON.parse(json)),
  fc.constantFrom<unknown>(
    null,
    [],
    '',
    JSON.parse('{"__proto__":{"privileges":["DELETE"],"schemas":["sales"]}}'),
    JSON.parse('{"__proto__":{"scopes":["*:*:*"]},"scopes":["read:reports:2024"]}'),
    JSON.parse('{"constructor":{"prototype":{"scopes":["*:*:*"]}}}'),
    JSON.parse('{"\\u0000\\n":1}'),
    JSON.parse('{"\\ud800":1}'),
    Object.create({ privileges: ['DELETE'], scopes: ['*:*:*'] }),
    { privileges: new Array<string>(100_000).fill('SELECT') },
    { scopes: Array.from({ length: 100_000 }, (_, index) => `read:reports:${index}`) },
    { tables: ['x'.repeat(1_000_000)] },
    { privileges: { length: 1, 0: 'DELETE' } },
    { schemas: ['public', 'public'] },
    { schemas: [['public']] },
  ),
);

const postgresRequest = fc.oneof(
  hostile,
  fc.record(
    {
      privileges: fc.oneof(fc.array(privilege), fc.array(anyPrivilege), hostile),
      schemas: fc.oneof(fc.array(schemaName), hostile),
      tables: fc.oneof(fc.array(tableName), hostile),
      extra: hostile,
    },
    { requiredKeys: [] },
  ),
  postgresBounds,
  fc.constant(undefined),
);
const jwtRequest = fc.oneof(
  hostile,
  fc.record({ scopes: fc.oneof(fc.array(scopeString), hostile), extra: hostile }, { requiredKeys: [] }),
  jwtBounds,
  fc.constant(undefined),
);

function expectSpeakable<T>(result: NarrowResult<T>): void {
  if (result.outcome !== 'narrowed') expect(text(500).safeParse(result.reason).success).toBe(true);
  if (result.outcome !== 'narrowed') expect(result.reason.isWellFormed()).toBe(true);
}

/** What a postgres scope allows on every table that the alphabets can name, and on one that nothing names. */
function allowed(scope: PostgresScope): Set<string> {
  const tables = ['public.orders', 'public.users', 'sales.orders', 'sales.a.b', 'other.x', 'a.b.t'];
  const everything = scope.schemas.flatMap((schema) => [
    `${schema} / unnamed`,
    ...tables.filter((table) => table.split('.')[0] === schema).map((table) => `${schema} / ${table}`),
  ]);
  const reached = scope.tables?.map((table) => `${table.split('.')[0] ?? ''} / ${table}`) ?? everything;
  return new Set(reached.flatMap((place) => scope.privileges.map((name) => `${name} ${place}`)));
}

/** What `scope` allows and `bounds` does not. */
function beyond(scope: PostgresScope, bounds: PostgresScope): string[] {
  const within = allowed(bounds);
  return [...allowed(scope)].filter((item) => !within.has(item));
}

describe('narrow of postgres', () => {
  it('never allows what the bounds do not, for any input', () => {
    fc.assert(
      fc.property(postgresRequest, postgresBounds, (requested, bounds) => {
        const result = postgresDefinition.narrow(requested, bounds);
        expectSpeakable(result);
        if (result.outcome !== 'narrowed') return;
        expect(PostgresScope.safeParse(result.scope).success).toBe(true);
        expect(beyond(result.scope, bounds)).toEqual([]);
        expect(result.scope.privileges).not.toContain('TRIGGER');
        expect(bounds.schemas).toEqual(expect.arrayContaining(result.scope.schemas));
        if (!postgresDefinition.writes(bounds)) expect(postgresDefinition.writes(result.scope)).toBe(false);
      }),
      { numRuns: 1500 },
    );
  });

  it('never allows what was not asked for', () => {
    fc.assert(
      fc.property(postgresBounds, postgresBounds, (requested, bounds) => {
        const result = postgresDefinition.narrow(requested, bounds);
        if (result.outcome === 'narrowed') expect(beyond(result.scope, requested)).toEqual([]);
      }),
    );
  });

  it('is idempotent: asking again for what came out changes nothing', () => {
    fc.assert(
      fc.property(postgresRequest, postgresBounds, (requested, bounds) => {
        const once = postgresDefinition.narrow(requested, bounds);
        if (once.outcome !== 'narrowed') return;
        expect(postgresDefinition.narrow(once.scope, bounds)).toEqual(once);
        expect(postgresDefinition.narrow(once.scope, once.scope)).toEqual(once);
        expect(postgresDefinition.narrow(undefined, once.scope)).toEqual(once);
      }),
    );
  });
});

describe('narrow of jwt', () => {
  it('never allows what the bounds do not, for any input', () => {
    fc.assert(
      fc.property(jwtRequest, jwtBounds, (requested, bounds) => {
        const result = jwtDefinition.narrow(requested, bounds);
        expectSpeakable(result);
        if (result.outcome !== 'narrowed') return;
        expect(JwtScope.safeParse(result.scope).success).toBe(true);
        for (const scope of result.scope.scopes) {
          expect(bounds.scopes.some((bound) => covers(bound, scope))).toBe(true);
        }
        if (!jwtDefinition.writes(bounds)) expect(jwtDefinition.writes(result.scope)).toBe(false);
      }),
      { numRuns: 1500 },
    );
  });

  it('is idempotent: asking again for what came out changes nothing', () => {
    fc.assert(
      fc.property(jwtRequest, jwtBounds, (requested, bounds) => {
        const once = jwtDefinition.narrow(requested, bounds);
        if (once.outcome !== 'narrowed') return;
        expect(jwtDefinition.narrow(once.scope, bounds)).toEqual(once);
        expect(jwtDefinition.narrow(once.scope, once.scope)).toEqual(once);
      }),
    );
  });
});

describe('covers is a partial order on scope strings', () => {
  it('every scope covers itself', () => {
    fc.assert(fc.property(scopeString, (scope) => covers(scope, scope)));
  });

  it('two scopes that cover each other are the same', () => {
    fc.assert(fc.property(scopeString, scopeString, (a, b) => !(covers(a, b) && covers(b, a)) || a === b));
  });

  it('what covers a scope covers what that one covers', () => {
    fc.assert(
      fc.property(
        scopeString,
        scopeString,
        scopeString,
        (a, b, c) => !(covers(a, b) && covers(b, c)) || covers(a, c),
      ),
      { numRuns: 5000 },
    );
  });
});

describe('the registry', () => {
  it.each([...providerDefinitions.values()])(
    '$name refuses settings and scopes with keys that it does not know',
    (definition) => {
      for (const schema of [
        definition.integrationSettings,
        definition.credentialSettings,
        definition.scope,
      ]) {
        const issues = schema.safeParse({ surprise: 1 }).error?.issues ?? [];
        expect(issues.some((issue) => issue.code === 'unrecognized_keys')).toBe(true);
      }
    },
  );

  it('parses bounds before a definition sees them', () => {
    const postgres = providerDefinitions.get('postgres');
    expect(() => postgres?.narrow(undefined, { privileges: ['ALL'], schemas: ['public'] })).toThrow();
  });
});
