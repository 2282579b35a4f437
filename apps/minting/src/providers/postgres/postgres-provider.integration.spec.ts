/**
 * The provider against real PostgreSQL servers, on each as superuser and as a role that has CREATEROLE and owns the schemas,
 * no more.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { withMark, type PostgresScope } from '@mayfly/domain';
import pg from 'pg';
import { deadlineIn, type Deadline } from '../deadline.ts';
import { ProviderRejected } from '../provider-error.ts';
import { AdminDatabase } from './admin-database.ts';
import { creatorRoles } from './creator-roles.ts';
import { PostgresProvider } from './postgres-provider.ts';
import { groupRoleName, loginRoleName, retiredGroupPrefix } from './role-names.ts';
import { ScopeGroups } from './scope-groups.ts';
import { deadlineMs, limits, query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

for (const server of servers) {
  for (const admin of ['superuser', 'createrole'] as const) {
    const title = `postgres (${server.name}, admin with ${admin})`;

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

      it('lists what it made by the mark of the lease ids, and nothing of another installation', async () => {
        const mark = randomBytes(5).toString('hex');
        const ids = Array.from({ length: 3 }, () => withMark(crypto.randomUUID(), mark)).sort();
        const theirs = withMark(crypto.randomUUID(), randomBytes(5).toString('hex'));
        const minted = await Promise.all([...ids, theirs].map((leaseId) => upstream.mint(leaseId)));
        const page = (limit: number, after?: string) =>
          upstream.provider.list({
            ...upstream.context(''),
            mark,
            limit,
            ...(after === undefined ? {} : { after }),
          });
        expect(await page(10)).toEqual(ids);
        expect(await page(2)).toEqual(ids.slice(0, 2));
        expect(await page(2, ids[1])).toEqual(ids.slice(2));
        const handle = minted[0]?.handle ?? {};
        const inspect = () => upstream.provider.inspect({ ...upstream.context(ids[0] ?? ''), handle });
        expect(await inspect()).toBe('present');
        for (const [index, leaseId] of [...ids, theirs].entries()) {
          await upstream.revoke(leaseId, { handle: minted[index]?.handle ?? {} });
        }
        expect(await inspect()).toBe('absent');
        expect(await page(10)).toEqual([]);
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

      it('lets the same password log in for longer, and says until when', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        const validUntil = async () => {
          const [row] = await upstream.asSuperuser(
            `SELECT rolvaliduntil FROM pg_roles WHERE rolname = '${loginRoleName(leaseId)}'`,
          );
          return row?.['rolvaliduntil'] as Date;
        };
        const open = new pg.Client({ connectionString: urlOf(minted) });
        await open.connect();
        const renewed = await upstream.renew(leaseId, minted, 600);
        expect(renewed).toEqual({ nativeExpiresAt: await validUntil() });
        const seconds = ((await validUntil()).getTime() - Date.now()) / 1000;
        expect(seconds).toBeGreaterThan(590);
        expect(seconds).toBeLessThanOrEqual(600.5);
        expect((await open.query('SELECT 1')).rowCount).toBe(1);
        expect(await succeeds(query(urlOf(minted), 'SELECT 1'))).toBe(true);
        // Never to earlier.
        const before = await validUntil();
        await upstream.renew(leaseId, minted, 30);
        expect(await validUntil()).toEqual(before);
        await open.end();
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
        expect(await upstream.renew(leaseId, minted, 600)).toBe('gone');
      });

      it('prolongs nothing whose end has begun, and nothing past what the register knows', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        // As the server would answer whose clock is ahead.
        await expect(upstream.renew(leaseId, minted, 600, 500)).rejects.toMatchObject({
          code: 'provider_rejected',
        });
        const [row] = await upstream.asSuperuser(
          `SELECT rolvaliduntil < now() + interval '130 seconds' AS untouched FROM pg_roles
            WHERE rolname = '${loginRoleName(leaseId)}'`,
        );
        expect(row).toEqual({ untouched: true });
        await upstream.asSuperuser(`ALTER ROLE ${loginRoleName(leaseId)} NOLOGIN`);
        expect(await upstream.renew(leaseId, minted, 600)).toBe('gone');
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
      });

      it('drops what the role owns, in other databases too', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        const other = `${upstream.database}_other`;
        await upstream.asSuperuser(`CREATE DATABASE ${other}`, 'postgres');
        try {
          await upstream.asSuperuser(`CREATE SCHEMA own AUTHORIZATION ${loginRoleName(leaseId)}`);
          await upstream.asSuperuser(`CREATE SCHEMA own AUTHORIZATION ${loginRoleName(leaseId)}`, other);
          expect(await upstream.revoke(leaseId, minted)).toBe('access_ended');
          await upstream.cleanUp(leaseId, minted);
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

      it('runs custom revocation statements as the privileged role, on a role that it made in its own way', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId, upstream.bounds, {
          revocation_statements: [
            "COMMENT ON TABLE shop.other IS 'ended'",
            'REASSIGN OWNED BY {{name}} TO CURRENT_USER',
          ],
        });
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
        const [row] = await upstream.asSuperuser(`SELECT obj_description('shop.other'::regclass) AS comment`);
        expect(row?.['comment']).toBe('ended');
        expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
      });

      it('leaves the privileged role a member of no login role, so that many of them cost it nothing', async () => {
        const leaseId = crypto.randomUUID();
        const minted = await upstream.mint(leaseId);
        const members = await upstream.asSuperuser(
          `SELECT member::regrole::text AS member FROM pg_auth_members WHERE roleid = '${loginRoleName(leaseId)}'::regrole`,
        );
        const facts = await upstream.facts();
        const creators = creatorRoles(facts);
        expect([...new Set(members.map(({ member }) => member))]).toEqual(
          creators === undefined ? [] : [creators.of(loginRoleName(leaseId))],
        );
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');
      });

      it('makes its creator roles anew when somebody has dropped them', async () => {
        const creators = creatorRoles(await upstream.facts());
        if (creators === undefined) return;
        const leaseId = crypto.randomUUID();
        await upstream.asSuperuser(`DROP ROLE ${creators.of(loginRoleName(leaseId))}`);
        const minted = await upstream.mint(leaseId);
        expect(await upstream.revoke(leaseId, minted)).toBe('revoked');

        const another = crypto.randomUUID();
        await upstream.asSuperuser(
          `REVOKE ${creators.of(loginRoleName(another))} FROM ${upstream.admin} GRANTED BY ${upstream.admin}; DROP ROLE ${creators.parent}`,
        );
        await expect(upstream.mint(another)).rejects.toThrow(ProviderRejected);
        expect(await upstream.revoke(another, await upstream.mint(another))).toBe('revoked');
      });

      it('drops the group of a narrowed scope when nobody is in it, and makes it anew when it is missing', async () => {
        const place = { organization: 'acme', integration: 'shop-db', database: upstream.database };
        const scope: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.other'] };
        const group = groupRoleName(place, scope, upstream.bounds);
        const groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0 });
        const database = new AdminDatabase(upstream.adminUrl, limits);
        try {
          const first = crypto.randomUUID();
          const minted = await upstream.mint(first, scope);
          expect((await groups.sweep(database, place)).retired).not.toContain(group);
          expect(await upstream.roles(`^${group}$`)).toEqual([group]);
          await upstream.revoke(first, minted);
          expect(await groups.sweep(database, place)).toMatchObject({
            retired: expect.arrayContaining([group]) as unknown,
            left: 0,
          });
          expect(await upstream.roles(`^${group}$|^${retiredGroupPrefix(place)}`)).toEqual([]);

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
        const groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 60_000 });
        const database = new AdminDatabase(upstream.adminUrl, limits);
        try {
          const scopes = ['shop.orders', 'shop.other', 'shop.notes'].map((table): PostgresScope => ({
            privileges: ['SELECT'],
            schemas: ['shop'],
            tables: [table],
          }));
          for (let round = 0; round < 3; round++) {
            const sweeping = groups.sweep(database, place);
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

      it('I6: gives up on a database that does not answer, and leaves nothing behind', async () => {
        const provider = new PostgresProvider({ ...limits, statementTimeoutMs: 300 });
        const mint = (deadline: Deadline, leaseId: string = crypto.randomUUID()) => {
          const context = {
            ...upstream.context(leaseId),
            deadline,
            agentId: 'spiffe://acme.example/agent/a/b/c',
          };
          const { bounds } = upstream;
          return {
            leaseId,
            minting: provider.mint({
              ...context,
              bounds,
              scope: bounds,
              ttlSeconds: 60,
              grantedAt: new Date(),
            }),
          };
        };
        const warm = mint(deadlineIn(deadlineMs));
        await provider.revoke({ ...upstream.context(warm.leaseId), handle: (await warm.minting).handle });
        const blocker = new pg.Client({ connectionString: upstream.adminUrl });
        await blocker.connect();
        try {
          const leaseIds = [1, 2, 3].map(() => crypto.randomUUID());
          const [first = '', second = '', third = ''] = leaseIds;
          // A name can't be taken while somebody who has not committed has it.
          await blocker.query(
            ['BEGIN', ...leaseIds.map((leaseId) => `CREATE ROLE ${loginRoleName(leaseId)}`)].join(';'),
          );
          const slow = mint(deadlineIn(deadlineMs), first);
          await expect(slow.minting).rejects.toMatchObject({ code: 'provider_unavailable', effect: 'none' });
          const running = `SELECT FROM pg_stat_activity WHERE state = 'active' AND strpos(query, '${loginRoleName(second)}') > 0
                              AND pid <> pg_backend_pid()`;
          const giveUp = new AbortController();
          const cut = mint({ isVital: false, signal: giveUp.signal, remainingMs: () => 1_000 }, second);
          cut.minting.catch(() => undefined);
          while ((await upstream.asSuperuser(running)).length === 0)
            await new Promise((resolve) => setTimeout(resolve, 5));
          giveUp.abort();
          await expect(cut.minting).rejects.toMatchObject({
            code: 'provider_unavailable',
            effect: 'unknown',
          });
          const late = mint(deadlineIn(200));
          await expect(late.minting).rejects.toMatchObject({ code: 'provider_unavailable', effect: 'none' });
          // What was cut off has ended by the server's own timeout before the names are free.
          await expect(mint(deadlineIn(deadlineMs), third).minting).rejects.toMatchObject({ effect: 'none' });
          await blocker.query('ROLLBACK');
          for (const { leaseId } of [slow, cut, late]) {
            expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
          }
        } finally {
          await blocker.end();
          await provider.close();
        }
      });

      it('I6: ends a mint that is still running upstream before it says that nothing is there', async () => {
        const leaseId = crypto.randomUUID();
        const running = async () => {
          const text = `SELECT FROM pg_stat_activity WHERE state = 'active' AND strpos(query, 'mint ' || '${loginRoleName(leaseId)}') > 0`;
          return (await upstream.asSuperuser(text)).length;
        };
        const warm = crypto.randomUUID();
        await upstream.revoke(warm, await upstream.mint(warm));
        const blocker = new pg.Client({ connectionString: upstream.adminUrl });
        await blocker.connect();
        try {
          await blocker.query(`BEGIN; CREATE ROLE ${loginRoleName(leaseId)}`);
          const { bounds } = upstream;
          const cut = upstream.provider.mint({
            ...upstream.context(leaseId),
            deadline: { isVital: false, signal: AbortSignal.timeout(100), remainingMs: () => deadlineMs },
            agentId: 'spiffe://acme.example/agent/a/b/c',
            bounds,
            scope: bounds,
            ttlSeconds: 60,
            grantedAt: new Date(),
          });
          await expect(cut).rejects.toMatchObject({ effect: 'unknown' });
          expect(await running()).toBe(1);
          expect(await upstream.provider.reconcile(upstream.context(leaseId))).toEqual({ outcome: 'absent' });
          expect(await running()).toBe(0);
        } finally {
          await blocker.end();
        }
        expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).toEqual([]);
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
          grantedAt: new Date(),
        });
        await query(urlOf(minted), 'SELECT * FROM shop.later; INSERT INTO shop.later VALUES (1)');
        await provider.revoke({ ...upstream.context(leaseId), handle: minted.handle });
        await provider.close();
      });
    });
  }
}
