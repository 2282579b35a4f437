/**
 * The provider against a real PostgreSQL: MAYFLY_TEST_POSTGRES_URL (a superuser's) and, where it is set,
 * MAYFLY_TEST_POSTGRES_OLDER_URL; on each as superuser and as a role that has CREATEROLE and owns the schema, no more.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Secret, type PostgresCredentialSettings, type PostgresScope } from '@mayfly/domain';
import { describeProviderConformance } from '@mayfly/testing';
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { ProviderRejected } from '../provider-error.ts';
import type { Minted } from '../provider.ts';
import { AdminDatabase } from './admin-database.ts';
import { PostgresProvider } from './postgres-provider.ts';
import { groupRoleName, loginRoleName } from './role-names.ts';
import { ScopeGroups } from './scope-groups.ts';

const limits = {
  maxConnections: 4,
  statementTimeoutMs: 5_000,
  connectTimeoutMs: 4_000,
  groupFreshMs: 60_000,
};
const deadlineMs = 20_000;

const servers = Object.entries({
  'the newest PostgreSQL': process.env['MAYFLY_TEST_POSTGRES_URL'],
  'an older PostgreSQL': process.env['MAYFLY_TEST_POSTGRES_OLDER_URL'],
}).flatMap(([name, url]) => (url === undefined ? [] : [{ name, url }]));

/** A database with rows, an admin of it, and a provider. */
class Upstream {
  readonly provider = new PostgresProvider(limits);
  readonly database = `mayfly_it_${randomBytes(6).toString('hex')}`;
  readonly admin = `it_admin_${randomBytes(6).toString('hex')}`;
  readonly bounds: PostgresScope = { privileges: ['SELECT', 'INSERT'], schemas: ['shop', 'odd "name\'; --'] };
  readonly narrower: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'] };
  adminUrl = '';

  private constructor(private readonly superuserUrl: string) {}

  static async make(superuserUrl: string, admin: 'superuser' | 'createrole'): Promise<Upstream> {
    const upstream = new Upstream(superuserUrl);
    const { database, admin: adminName } = upstream;
    await upstream.asSuperuser(`CREATE DATABASE ${database}`, 'postgres');
    await upstream.asSuperuser(
      `CREATE ROLE ${adminName} LOGIN ${admin === 'superuser' ? 'SUPERUSER' : 'CREATEROLE'} PASSWORD 'admin-pw';
       GRANT CREATE ON DATABASE ${database} TO ${adminName}`,
    );
    const url = new URL(superuserUrl);
    Object.assign(url, { username: adminName, password: 'admin-pw', pathname: `/${database}` });
    upstream.adminUrl = url.href;
    await query(
      upstream.adminUrl,
      `CREATE SCHEMA shop; CREATE TABLE shop.orders (id serial, note text); INSERT INTO shop.orders (note) VALUES ('a');
       CREATE VIEW shop.notes AS SELECT note FROM shop.orders; CREATE TABLE shop.other (id int);
       CREATE SCHEMA "odd ""name'; --"; CREATE TABLE "odd ""name'; --"."t""'; DROP ROLE x; --" (id int)`,
    );
    return upstream;
  }

  asSuperuser(text: string, database = this.database): Promise<Record<string, unknown>[]> {
    const url = new URL(this.superuserUrl);
    url.pathname = `/${database}`;
    return query(url.href, text);
  }

  context(leaseId: string) {
    return {
      leaseId,
      organization: 'acme',
      integration: 'shop-db',
      integrationSettings: { admin: 'env:ADMIN' },
      credentialSettings: {} as PostgresCredentialSettings,
      secrets: () => Promise.resolve(new Secret(this.adminUrl)),
      deadline: deadlineIn(deadlineMs),
    };
  }

  mint(
    leaseId: string,
    scope: PostgresScope = this.bounds,
    credentialSettings: PostgresCredentialSettings = {},
  ): Promise<Minted> {
    return this.provider.mint({
      ...this.context(leaseId),
      credentialSettings,
      agentId: 'spiffe://acme.example/agent/ci/build/1',
      bounds: this.bounds,
      scope,
      ttlSeconds: 120,
    });
  }

  revoke(leaseId: string, { handle }: Pick<Minted, 'handle'>) {
    return this.provider.revoke({ ...this.context(leaseId), handle });
  }

  async roles(pattern: string): Promise<string[]> {
    const rows = await this.asSuperuser(
      `SELECT rolname FROM pg_roles WHERE rolname ~ ${pg.escapeLiteral(pattern)}`,
    );
    return rows.map((row) => String(row['rolname']));
  }

  async close(): Promise<void> {
    await this.provider.close();
    const names = await this.asSuperuser(
      `SELECT DISTINCT r.rolname FROM pg_roles r JOIN pg_shdepend s ON s.refobjid = r.oid AND s.refclassid = 'pg_authid'::regclass
         JOIN pg_database d ON d.datname = current_database() AND (s.dbid = d.oid OR s.objid = d.oid)
        WHERE r.rolname ~ '^mayfly_(scope|narrow)_'`,
    );
    for (const { rolname } of names)
      await this.asSuperuser(`DROP OWNED BY ${String(rolname)}; DROP ROLE ${String(rolname)}`);
    await this.asSuperuser(`DROP DATABASE ${this.database} WITH (FORCE)`, 'postgres');
    await this.asSuperuser(`DROP OWNED BY ${this.admin}; DROP ROLE ${this.admin}`, 'postgres').catch(
      () => undefined,
    );
  }
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    const result: unknown = await client.query(text);
    return ([result].flat().at(-1) as pg.QueryResult<Record<string, unknown>>).rows;
  } finally {
    await client.end();
  }
}

const urlOf = ({ secret }: Pick<Minted, 'secret'>) => (JSON.parse(secret.reveal()) as { url: string }).url;
const succeeds = (work: Promise<unknown>) =>
  work.then(
    () => true,
    () => false,
  );

for (const server of servers) {
  for (const admin of ['superuser', 'createrole'] as const) {
    const title = `postgres (${server.name}, admin with ${admin})`;

    describeProviderConformance(title, { ends: 'named' }, async () => {
      const upstream = await Upstream.make(server.url, admin);
      const may = (secret: string, text: string) =>
        succeeds(query((JSON.parse(secret) as { url: string }).url, text));
      return {
        mint: async ({ leaseId, scope }) => {
          const minted = await upstream.mint(
            leaseId,
            scope === 'bounds' ? upstream.bounds : upstream.narrower,
          );
          return { ...minted, secret: minted.secret.reveal() };
        },
        revoke: (leaseId, handle) => upstream.revoke(leaseId, { handle: handle as Minted['handle'] }),
        reconcile: (leaseId) => upstream.provider.reconcile(upstream.context(leaseId)),
        mayDoTheNarrow: (secret) => may(secret, 'SELECT note FROM shop.orders; SELECT * FROM shop.notes'),
        mayDoTheWide: (secret) => may(secret, "INSERT INTO shop.orders (note) VALUES ('b')"),
        isLeftUpstream: async (leaseId) => (await upstream.roles(`^${loginRoleName(leaseId)}$`)).length > 0,
        failing: {
          rejected: () =>
            upstream.mint(crypto.randomUUID(), { privileges: ['SELECT'], schemas: ['nowhere_to_be_found'] }),
          unavailable: async () => {
            const { provider } = upstream;
            const secrets = () => Promise.resolve(new Secret('postgres://someone:pw@127.0.0.1:1/nowhere'));
            const { handle } = { handle: { narrowed: false, revocation_statements: [] } };
            return provider.revoke({ ...upstream.context(crypto.randomUUID()), secrets, handle });
          },
        },
        upstreamWords: [/nowhere/, /ECONNREFUSED/, /127\.0\.0\.1/, /someone/],
        close: () => upstream.close(),
      };
    });

    describe(title, () => {
      let upstream: Upstream;
      beforeAll(async () => {
        upstream = await Upstream.make(server.url, admin);
      });
      afterAll(() => upstream.close());

      it('makes a login role that PostgreSQL itself ends, in one group per scope', async () => {
        const [a, b] = [crypto.randomUUID(), crypto.randomUUID()];
        const minted = await Promise.all([upstream.mint(a), upstream.mint(b)]);
        const rows = await upstream.asSuperuser(
          `SELECT r.rolconnlimit, r.rolvaliduntil, extract(epoch FROM r.rolvaliduntil - now())::int AS seconds, g.rolname AS group
             FROM pg_roles r JOIN pg_auth_members m ON m.member = r.oid JOIN pg_roles g ON g.oid = m.roleid
            WHERE r.rolname IN ('${loginRoleName(a)}', '${loginRoleName(b)}')`,
        );
        const group = groupRoleName(
          { organization: 'acme', integration: 'shop-db', database: upstream.database },
          upstream.bounds,
          upstream.bounds,
        );
        expect(rows.map((row) => row['group'])).toEqual([group, group]);
        expect(rows.map((row) => row['rolconnlimit'])).toEqual([5, 5]);
        for (const row of rows) expect(Number(row['seconds'])).toBeGreaterThan(110);
        const ends = rows.map((row) => (row['rolvaliduntil'] as Date).getTime()).sort();
        expect(minted.map(({ nativeExpiresAt }) => nativeExpiresAt?.getTime()).sort()).toEqual(ends);
        await Promise.all([
          upstream.revoke(a, { handle: minted[0].handle }),
          upstream.revoke(b, { handle: minted[1].handle }),
        ]);
      });

      it('cuts an open connection when it ends a lease, whatever it is doing', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        const clients = [1, 2].map(() => new pg.Client({ connectionString: urlOf(minted) }));
        const cut = clients.map(
          (client) =>
            new Promise<void>((resolve) => client.on('error', () => resolve()).on('end', () => resolve())),
        );
        for (const client of clients) await client.connect();
        await clients[0]?.query('BEGIN; SELECT * FROM shop.orders');
        const sleeping = succeeds(clients[1]?.query('SELECT pg_sleep(60)') ?? Promise.resolve());
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
        await Promise.all(cut);
        expect(await sleeping).toBe(false);
        expect(await succeeds(query(urlOf(minted), 'SELECT 1'))).toBe(false);
      });

      it('drops what the role owns, in other databases too', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        const other = `${upstream.database}_other`;
        await upstream.asSuperuser(`CREATE DATABASE ${other}`, 'postgres');
        try {
          await upstream.asSuperuser(`CREATE SCHEMA own AUTHORIZATION ${loginRoleName(leaseId)}`);
          await upstream.asSuperuser(`CREATE SCHEMA own AUTHORIZATION ${loginRoleName(leaseId)}`, other);
          expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
          expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
        } finally {
          await upstream.asSuperuser(`DROP DATABASE ${other} WITH (FORCE)`, 'postgres');
        }
      });

      it('quotes schemas and tables that look like SQL', async () => {
        const leaseId = crypto.randomUUID();
        const scope: PostgresScope = {
          privileges: ['SELECT'],
          schemas: ['odd "name\'; --'],
          tables: ['odd "name\'; --.t"\'; DROP ROLE x; --'],
        };
        const minted = await upstream.mint(leaseId, scope);
        await query(urlOf(minted), `SELECT * FROM "odd ""name'; --"."t""'; DROP ROLE x; --"`);
        expect(await succeeds(query(urlOf(minted), 'SELECT * FROM shop.orders'))).toBe(false);
        await upstream.revoke(leaseId, minted);
      });

      it('I6: refuses a scope that names what does not exist, and leaves no role of the lease', async () => {
        for (const scope of [
          { privileges: ['SELECT'], schemas: ["x'; DROP ROLE y; --"] },
          { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.missing'] },
          { privileges: ['SELECT'], schemas: ['pg_catalog'] },
        ] satisfies PostgresScope[]) {
          const leaseId = crypto.randomUUID();
          await expect(upstream.mint(leaseId, scope)).rejects.toThrow(ProviderRejected);
          expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
        }
      });

      it('I1: lets no server view or statement hold the password', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        const { password } = JSON.parse(minted.secret.reveal()) as { password: string };
        const seen = await upstream.asSuperuser(
          `SELECT query FROM pg_stat_activity WHERE application_name = 'mayfly-minting' AND usename = '${upstream.admin}'`,
        );
        expect(JSON.stringify(seen)).toContain('SCRAM-SHA-256$4096:');
        expect(JSON.stringify(seen)).not.toContain(password);
        await upstream.revoke(leaseId, minted);
      });

      it('runs custom statements in place of its own', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId, upstream.bounds, {
          creation_statements: [
            'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}} -- all but the group',
            'GRANT {{group}} TO {{name}}',
          ],
          revocation_statements: ["COMMENT ON TABLE shop.other IS 'revoked'"],
        });
        expect(await query(urlOf(minted), 'SELECT note FROM shop.orders')).not.toHaveLength(0);
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
        const [row] = await upstream.asSuperuser(`SELECT obj_description('shop.other'::regclass) AS comment`);
        expect(row?.['comment']).toBe('revoked');
        await expect(
          upstream.mint(crypto.randomUUID(), upstream.bounds, { creation_statements: ["SELECT '{{name}}'"] }),
        ).rejects.toThrow(ProviderRejected);
      });

      it('drops the group of a narrowed scope when nobody is in it, and makes it anew when it is missing', async () => {
        const place = { organization: 'acme', integration: 'shop-db', database: upstream.database };
        const scope: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.other'] };
        const group = groupRoleName(place, scope, upstream.bounds);
        const groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000 });
        const database = new AdminDatabase(upstream.adminUrl, limits);
        try {
          const first = crypto.randomUUID();
          const minted = await upstream.mint(first, scope);
          expect(await groups.dropEmptyGroups(database, place)).not.toContain(group);
          expect(await upstream.roles(`^${group}$`)).toEqual([group]);
          await upstream.revoke(first, minted);
          expect(await groups.dropEmptyGroups(database, place)).toContain(group);
          expect(await upstream.roles(`^${group}$`)).toEqual([]);

          // This provider still takes it for complete.
          const second = crypto.randomUUID();
          const again = await upstream.mint(second, scope);
          expect(await succeeds(query(urlOf(again), 'SELECT * FROM shop.other'))).toBe(true);
          await upstream.revoke(second, again);
        } finally {
          await database.close();
        }
      });

      it('mints narrowed scopes all at once, while empty groups are being dropped', async () => {
        const place = { organization: 'acme', integration: 'shop-db', database: upstream.database };
        const groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000 });
        const database = new AdminDatabase(upstream.adminUrl, limits);
        try {
          const scopes = ['shop.orders', 'shop.other', 'shop.notes'].map((table): PostgresScope => ({
            privileges: ['SELECT'],
            schemas: ['shop'],
            tables: [table],
          }));
          for (let round = 0; round < 3; round++) {
            const sweeping = groups.dropEmptyGroups(database, place);
            const made = await Promise.all(
              scopes.map(async (scope) => {
                const leaseId = crypto.randomUUID();
                return { leaseId, scope, minted: await upstream.mint(leaseId, scope) };
              }),
            );
            await sweeping;
            for (const { leaseId, scope, minted } of made) {
              await query(urlOf(minted), `SELECT * FROM ${String(scope.tables?.[0])}`);
              await upstream.revoke(leaseId, minted);
            }
          }
        } finally {
          await database.close();
        }
      });

      it('grants new tables once the group is looked at again', async () => {
        const provider = new PostgresProvider({ ...limits, groupFreshMs: 1 });
        await query(upstream.adminUrl, 'CREATE TABLE IF NOT EXISTS shop.later (id int)');
        const leaseId = crypto.randomUUID();
        const minted = await provider.mint({
          ...upstream.context(leaseId),
          agentId: 'spiffe://acme.example/agent/ci/build/1',
          bounds: upstream.bounds,
          scope: upstream.bounds,
          ttlSeconds: 60,
        });
        await query(urlOf(minted), 'SELECT * FROM shop.later; INSERT INTO shop.later VALUES (1)');
        await provider.revoke({ ...upstream.context(leaseId), handle: minted.handle });
        await provider.close();
      });
    });
  }
}
