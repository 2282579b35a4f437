/**
 * I4: what an agent gets is never wider than what it asked for, nor than the bounds of the credential, and lives no longer than
 * either or than its session. Judged by the upstream: by what the role may really do there, and by the token a tool is shown.
 * (That narrowing is right for any input whatsoever is for libs/domain/src/providers/narrowing.spec.ts. Restricted and child sessions are not there yet.)
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { postgresPrivileges } from '@mayfly/domain';
import { Refused, type AgentApi } from '@mayfly/stack';
import { agentClaims, openSession, wholeStack } from '@mayfly/testing';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import pg from 'pg';

const stack = wholeStack();

/** The bounds of `orders-db/writer`. */
const bounds = { privileges: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'], schemas: ['public'] };
const tables = ['public.customers', 'public.orders'];

interface ScopeRequest {
  readonly privileges?: readonly string[];
  readonly schemas?: readonly string[];
  readonly tables?: readonly string[];
}

const anyOf = (values: readonly string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });

/** Requests within the bounds, beyond them, and neither. */
const requests: fc.Arbitrary<ScopeRequest> = fc.record(
  {
    privileges: fc.oneof(
      { weight: 4, arbitrary: anyOf(bounds.privileges) },
      anyOf(postgresPrivileges),
      fc.constant(['ALL']),
    ),
    schemas: fc.oneof(
      { weight: 3, arbitrary: fc.constant(['public']) },
      anyOf(['public', 'pg_catalog', 'Public', '*']),
    ),
    tables: fc.oneof(
      { weight: 3, arbitrary: anyOf(tables) },
      anyOf([...tables, 'pg_catalog.pg_authid', 'public.*']),
    ),
  },
  { requiredKeys: [] },
);

describe('I4: a credential', () => {
  let upstream: pg.Client;
  let deployer: AgentApi;

  beforeAll(async () => {
    upstream = new pg.Client({
      connectionString: Object.assign(new URL(stack.superuserUrl), { pathname: '/orders' }).href,
    });
    await upstream.connect();
    deployer = await openSession(stack, agentClaims({ role: 'deployer' }));
  });
  afterAll(() => upstream.end());

  /** All that a role may do to the tables of the database: `SELECT public.orders`, … */
  async function mayDo(role: string): Promise<string[]> {
    const { rows } = await upstream.query<{ may: string }>(
      `SELECT p || ' ' || n.nspname || '.' || c.relname AS may
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, unnest($2::text[]) AS p
       WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
         AND has_table_privilege($1, c.oid, p)
       ORDER BY 1`,
      [role, [...postgresPrivileges, 'TRIGGER']],
    );
    return rows.map(({ may }) => may);
  }

  it('may do upstream just what was asked for, where the bounds allow it, and is refused where they do not', async () => {
    let granted = 0;
    await fc.assert(
      fc.asyncProperty(requests, async (scope) => {
        const wanted = { ...bounds, tables, ...scope };
        const isWithin =
          wanted.privileges.every((privilege) => bounds.privileges.includes(privilege)) &&
          wanted.schemas.every((schema) => bounds.schemas.includes(schema)) &&
          wanted.tables.every((table) => tables.includes(table));
        const lease = await deployer
          .postgresLease('orders-db/writer', { scope, ttl_seconds: 60 })
          .catch((error: unknown) => {
            if (error instanceof Refused) return error.problem.code;
            throw error;
          });
        if (typeof lease === 'string') {
          expect([isWithin, lease]).toEqual([
            false,
            // By the upstream: a table that is not there, such as one named `*`.
            expect.stringMatching(/^(scope_exceeded|invalid_request|provider_rejected)$/) as unknown,
          ]);
          return;
        }
        granted++;
        const may = await mayDo(lease.secret.username);
        await deployer.giveBack(lease.lease_id);
        expect(isWithin).toBe(true);
        expect(may).toEqual(
          wanted.privileges
            .flatMap((privilege) => wanted.tables.map((table) => `${privilege} ${table}`))
            .sort(),
        );
      }),
      { numRuns: 25 },
    );
    expect(granted).toBeGreaterThan(0);
  });

  it('is no superuser, makes no roles or databases, and is a member of nothing that is more than it', async () => {
    const lease = await deployer.postgresLease('orders-db/writer', { ttl_seconds: 60 });
    const { rows } = await upstream.query<Record<string, unknown>>(
      `SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,
         ARRAY(SELECT b.rolname::text FROM pg_roles b
               WHERE b.rolname NOT LIKE 'mayfly\\_%' AND pg_has_role(r.oid, b.oid, 'MEMBER')) AS others
       FROM pg_roles r WHERE rolname = $1`,
      [lease.secret.username],
    );
    await deployer.giveBack(lease.lease_id);
    expect(rows).toEqual([
      {
        rolsuper: false,
        rolcreaterole: false,
        rolcreatedb: false,
        rolreplication: false,
        rolbypassrls: false,
        others: [],
      },
    ]);
  });

  it.each([
    [undefined, ['read:reports:*']],
    [['read:reports:2026'], ['read:reports:2026']],
    [
      ['read:reports:2026', 'read:reports:2025'],
      ['read:reports:2026', 'read:reports:2025'],
    ],
    [['write:reports:2026'], 'scope_exceeded'],
    [['read:*:*'], 'scope_exceeded'],
    [['read:reports:2026', 'read:invoices:1'], 'scope_exceeded'],
    [['read:reports:1 write:reports:1'], 'invalid_request'],
  ])('for a tool has the scopes that were asked for and no others: %j', async (scopes, expected) => {
    const agent = await openSession(stack);
    const request = scopes === undefined ? {} : { scope: { scopes } };
    const outcome = await agent.lease('reports-api/read', request).then(
      ({ secret }) => decodeJwt<{ scope: string }>(String(secret['token'])).scope.split(' '),
      (error: unknown) => {
        if (error instanceof Refused) return error.problem.code;
        throw error;
      },
    );
    expect(outcome).toEqual(expected);
  });

  it.each(['orders-db/readonly', 'reports-api/read'])(
    'lives as long as was asked for, at most as long as %s allows, and never longer than its session',
    async (credential) => {
      const agent = await openSession(stack);
      const short = await agent.lease(credential, { ttl_seconds: 7 });
      expect(short.ttl_seconds).toBe(7);
      // A tool token counts in whole seconds.
      expect(lifeOf(short)).toBeGreaterThan(5);
      expect(lifeOf(short)).toBeLessThanOrEqual(7);
      await expect(agent.lease(credential, { ttl_seconds: 901 })).rejects.toMatchObject({
        problem: { code: 'ttl_exceeded' },
      });
      // Sessions of its trust rule last 20 seconds.
      const brief = await openSession(stack, agentClaims({ kind: 'brief-agent' }));
      const openedBy = Date.now();
      const cut = await brief.lease(credential, { ttl_seconds: 60 });
      expect(Date.parse(cut.expires_at)).toBeLessThanOrEqual(openedBy + 20_000);
      expect(cut.ttl_adjusted).toMatchObject({ requested_seconds: 60 });
      await brief.giveBack(cut.lease_id);
      await agent.giveBack(short.lease_id);
    },
  );

  it('is not renewed beyond the end of its session', async () => {
    const brief = await openSession(stack, agentClaims({ kind: 'brief-agent' }));
    const openedBy = Date.now();
    const lease = await brief.postgresLease('orders-db/renewable', { ttl_seconds: 3 });
    const renewed = await brief.renew(lease.lease_id, { ttl_seconds: 600 });
    const { rows } = await upstream.query<{ until: Date }>(
      'SELECT rolvaliduntil AS until FROM pg_roles WHERE rolname = $1',
      [lease.secret.username],
    );
    await brief.giveBack(lease.lease_id);
    expect(Date.parse(renewed.expires_at)).toBeLessThanOrEqual(openedBy + 20_000);
    expect(rows[0]?.until.getTime()).toBe(Date.parse(renewed.native_expires_at ?? ''));
  });
});

/** Seconds from its issue to its end. */
function lifeOf({ issued_at, expires_at }: { issued_at: string; expires_at: string }): number {
  return (Date.parse(expires_at) - Date.parse(issued_at)) / 1000;
}
