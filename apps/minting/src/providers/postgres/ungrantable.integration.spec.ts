/** What the privileged role has and may not pass on: PostgreSQL only warns (01007), so a credential would come without it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PostgresScope } from '@mayfly/domain';
import { ProviderRejected } from '../provider-error.ts';
import type { GroupObserver } from './group-observer.ts';
import { PostgresProvider } from './postgres-provider.ts';
import { loginRoleName } from './role-names.ts';
import { limits, query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

type Looked = Parameters<GroupObserver['looked']>[0];

describe.each(servers)('what the privileged role may not pass on ($name)', ({ url }) => {
  let upstream: Upstream;
  let provider: PostgresProvider;
  const looks: Looked[] = [];
  const select = (...schemas: string[]): PostgresScope => ({ privileges: ['SELECT'], schemas });

  beforeAll(async () => {
    upstream = await Upstream.make(url, 'createrole');
    provider = new PostgresProvider({
      ...limits,
      groupFreshMs: 1,
      groupObserver: { looked: (look) => void looks.push(look), endedHolders: () => undefined },
    });
    await upstream.asSuperuser(
      `CREATE SCHEMA theirs; CREATE TABLE theirs.hidden (id int); CREATE TABLE theirs.seen (id int);
       CREATE SCHEMA "half ours"; CREATE TABLE "half ours".a (id int); CREATE TABLE "half ours"."B ""b" (id int);
       GRANT USAGE ON SCHEMA theirs TO ${upstream.admin};
       GRANT USAGE ON SCHEMA "half ours" TO ${upstream.admin} WITH GRANT OPTION;
       GRANT SELECT ON ALL TABLES IN SCHEMA theirs, "half ours" TO ${upstream.admin};
       GRANT SELECT ON "half ours".a TO ${upstream.admin} WITH GRANT OPTION`,
    );
  });
  afterAll(async () => {
    await provider.close();
    // What was granted by another than the owner goes with the objects alone.
    await upstream.asSuperuser('DROP SCHEMA theirs, "half ours", shared CASCADE');
    await upstream.close();
  });

  const mint = async (scope: PostgresScope, leaseId: string = crypto.randomUUID()) => ({
    leaseId,
    minted: await provider.mint({
      ...upstream.context(leaseId),
      agentId: 'spiffe://acme.example/agent/ci/build/1',
      bounds: scope,
      scope,
      ttlSeconds: 60,
      grantedAt: new Date(),
    }),
  });
  /** The rejection, after having made sure that it left nothing. */
  const rejection = async (scope: PostgresScope) => {
    const before = await upstream.roles('^mayfly_(scope|narrow)_');
    const leaseId = crypto.randomUUID();
    const error: unknown = await mint(scope, leaseId).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ProviderRejected);
    expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
    expect(await upstream.roles('^mayfly_(scope|narrow)_')).toEqual(before);
    const { reason, cause, effect } = error as ProviderRejected & { cause: Error };
    expect(effect).toBe('none');
    // The asker learns what of its own scope it is; who the privileged role is, it does not.
    expect(reason).not.toContain(upstream.admin);
    return { reason, log: cause.message };
  };

  it('refuses a scope on a schema, and leaves nothing', async () => {
    const { reason, log } = await rejection(select('theirs'));
    expect(reason).toContain('may not pass on USAGE on schema theirs');
    expect(log).toContain(`GRANT USAGE ON SCHEMA theirs TO "${upstream.admin}" WITH GRANT OPTION`);
    // As PostgreSQL would have it.
    await upstream.asSuperuser(log.slice(log.indexOf('GRANT')));
    await upstream.asSuperuser(`REVOKE GRANT OPTION FOR USAGE ON SCHEMA theirs FROM ${upstream.admin}`);
  });

  it('refuses a scope that names a table', async () => {
    const scope = { ...select('half ours'), tables: ['half ours.B "b', 'half ours.a'] };
    const { reason, log } = await rejection(scope);
    expect(reason).toContain('may not pass on SELECT on table "half ours"."B ""b"');
    expect(log).toContain(
      `GRANT SELECT ON TABLE "half ours"."B ""b" TO "${upstream.admin}" WITH GRANT OPTION`,
    );
    expect(log).not.toContain('"half ours".a');
  });

  it('refuses the database', async () => {
    await upstream.asSuperuser(
      `REVOKE CONNECT ON DATABASE ${upstream.database} FROM PUBLIC; GRANT CONNECT ON DATABASE ${upstream.database} TO ${upstream.admin}`,
    );
    try {
      const { reason, log } = await rejection({ ...select('shop'), tables: ['shop.notes'] });
      expect(reason).toContain('may not pass on CONNECT on its database');
      expect(log).toContain(`GRANT CONNECT ON DATABASE ${upstream.database}`);
    } finally {
      await upstream.asSuperuser(`GRANT CONNECT ON DATABASE ${upstream.database} TO PUBLIC`);
    }
  });

  it('refuses a whole schema of which it may pass on no table at all', async () => {
    await upstream.asSuperuser(`GRANT USAGE ON SCHEMA theirs TO ${upstream.admin} WITH GRANT OPTION`);
    const { reason } = await rejection(select('theirs'));
    expect(reason).toContain('may not pass on SELECT on any table of the scope');
    // An empty schema may get tables yet.
    await query(upstream.adminUrl, 'CREATE SCHEMA empty');
    const { leaseId, minted } = await mint(select('empty'));
    await provider.revoke({ ...upstream.context(leaseId), handle: minted.handle });
  });

  it('does without tables of a whole schema, and tells which, at each look', async () => {
    const scope = select('half ours', 'shop');
    const first = await mint(scope);
    expect(
      await succeeds(query(urlOf(first.minted), 'SELECT * FROM shop.orders; SELECT * FROM "half ours".a')),
    ).toBe(true);
    expect(looks.at(-1)).toMatchObject({
      organization: 'acme',
      integration: 'shop-db',
      notGrantable: { count: 1, examples: ['TABLE "half ours"."B ""b"'] },
      locked: { count: 0 },
    });
    // A table that comes later, and then is given.
    await upstream.asSuperuser('CREATE TABLE "half ours".later (id int)');
    const second = await mint(scope);
    expect(looks.at(-1)).toMatchObject({ notGrantable: { count: 2 } });
    await upstream.asSuperuser(
      `GRANT SELECT ON ALL TABLES IN SCHEMA "half ours" TO ${upstream.admin} WITH GRANT OPTION`,
    );
    const third = await mint(scope);
    expect(looks.at(-1)).toMatchObject({ notGrantable: { count: 0, examples: [] } });
    expect(await succeeds(query(urlOf(first.minted), 'SELECT * FROM "half ours".later'))).toBe(true);
    for (const { leaseId, minted } of [first, second, third]) {
      await provider.revoke({ ...upstream.context(leaseId), handle: minted.handle });
    }
  });

  it('passes on what two roles of its own may pass on, each a part', async () => {
    const roles = ['one', 'other'].map((name) => `${name}_${upstream.database}`);
    await upstream.asSuperuser(
      `CREATE SCHEMA shared; CREATE TABLE shared.t (id int); GRANT USAGE ON SCHEMA shared TO ${upstream.admin} WITH GRANT OPTION;
       CREATE ROLE ${String(roles[0])} ROLE ${upstream.admin}; CREATE ROLE ${String(roles[1])} ROLE ${upstream.admin};
       GRANT SELECT ON shared.t TO ${String(roles[0])} WITH GRANT OPTION;
       GRANT INSERT ON shared.t TO ${String(roles[1])} WITH GRANT OPTION`,
    );
    try {
      const scope: PostgresScope = {
        privileges: ['SELECT', 'INSERT'],
        schemas: ['shared'],
        tables: ['shared.t'],
      };
      const { leaseId, minted } = await mint(scope);
      expect(
        await succeeds(query(urlOf(minted), 'INSERT INTO shared.t VALUES (1); SELECT * FROM shared.t')),
      ).toBe(true);
      await provider.revoke({ ...upstream.context(leaseId), handle: minted.handle });
    } finally {
      for (const role of roles) await upstream.asSuperuser(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });

  it('takes names that look like the end of a statement for names', async () => {
    await query(
      upstream.adminUrl,
      `CREATE TABLE shop."$mayfly$; DROP ROLE x; --" (id int); CREATE TABLE shop."back\\slash" (id int)`,
    );
    const scope = { ...select('shop'), tables: ['shop.$mayfly$; DROP ROLE x; --', 'shop.back\\slash'] };
    const { leaseId, minted } = await mint(scope);
    expect(
      await succeeds(
        query(urlOf(minted), 'SELECT * FROM shop."$mayfly$; DROP ROLE x; --", shop."back\\slash"'),
      ),
    ).toBe(true);
    await provider.revoke({ ...upstream.context(leaseId), handle: minted.handle });
  });
});
