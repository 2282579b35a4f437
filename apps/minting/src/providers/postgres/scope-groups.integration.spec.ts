/**
 * Entry by entry: what a lease that lives can do to keep others from being minted, and how groups come and go meanwhile. On real
 * servers, with the privileged role as superuser and as a role with CREATEROLE that owns the schemas.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { PostgresScope } from '@mayfly/domain';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { ProviderBusy } from '../provider-error.ts';
import type { Minted } from '../provider.ts';
import { AdminDatabase } from './admin-database.ts';
import { creatorRoles } from './creator-roles.ts';
import type { GroupObserver } from './group-observer.ts';
import { groupRoleName, loginRoleName, retiredGroupPrefix } from './role-names.ts';
import { ScopeGroups } from './scope-groups.ts';
import { deadlineMs, limits, query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

type Looked = Parameters<GroupObserver['looked']>[0];
type EndedHolders = Parameters<GroupObserver['endedHolders']>[0];

/** Longest that a mint may take while somebody is hostile; alone it takes a few milliseconds. */
const soonMs = 2_500;

function failed(): never {
  throw new Error('it was not minted');
}

/** A session of a lease, whose transaction stays open. */
class Hostile {
  readonly isCut: Promise<true>;
  private constructor(private readonly client: pg.Client) {
    this.isCut = new Promise((resolve) =>
      client.on('error', () => resolve(true)).on('end', () => resolve(true)),
    );
  }

  static async in(minted: Pick<Minted, 'secret'>, text: string): Promise<Hostile> {
    const client = new pg.Client({ connectionString: urlOf(minted) });
    const hostile = new Hostile(client);
    await client.connect();
    await client.query(`BEGIN; ${text}`);
    return hostile;
  }

  works(): Promise<boolean> {
    return succeeds(this.client.query('SELECT 1'));
  }

  async leave(): Promise<void> {
    await this.client.end().catch(() => undefined);
  }
}

it('takes no lock by a number that an agent can take as well', () => {
  const folder = import.meta.dirname;
  const sources = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.includes('.spec.'));
  const waits = (name: string) => /pg_advisory_(?!unlock)/.test(readFileSync(`${folder}/${name}`, 'utf8'));
  expect(sources.filter(waits)).toEqual([]);
});

for (const server of servers) {
  for (const admin of ['superuser', 'createrole'] as const) {
    describe(`group roles (${server.name}, admin with ${admin})`, () => {
      let upstream: Upstream;
      let database: AdminDatabase;
      let groups: ScopeGroups;
      let looks: Looked[];
      let ended: EndedHolders[];
      const open: Hostile[] = [];
      const minted: { leaseId: string; minted: Minted }[] = [];

      const place = () => ({ organization: 'acme', integration: 'shop-db', database: upstream.database });
      const wide: PostgresScope = {
        privileges: ['SELECT', 'INSERT', 'UPDATE', 'TRUNCATE'],
        schemas: ['shop'],
      };
      const observer: GroupObserver = {
        looked: (look) => void looks.push(look),
        endedHolders: (news) => void ended.push(news),
      };

      /** A lease of a scope that is its credential's own, in a new provider's eyes. */
      const lease = async (scope: PostgresScope) => {
        const leaseId = crypto.randomUUID();
        const made = { leaseId, minted: await upstream.mint(leaseId, scope) };
        minted.push(made);
        return made;
      };
      const hostile = async (scope: PostgresScope, text: string) => {
        const made = await lease(scope);
        const session = await Hostile.in(made.minted, text);
        open.push(session);
        return { ...made, session };
      };
      const ensure = (scope: PostgresScope) => groups.ensure(database, place(), scope, upstream.bounds);
      const soon = async <T>(work: Promise<T>) => {
        const began = performance.now();
        await work.catch(() => undefined);
        expect(performance.now() - began).toBeLessThan(soonMs);
        return work;
      };
      const privilegesOf = async (group: string, table: string) => {
        const [row] = await upstream.asSuperuser(
          `SELECT has_schema_privilege('${group}', 'shop', 'USAGE') AND has_table_privilege('${group}', '${table}', 'SELECT') AS has`,
        );
        return row?.['has'];
      };

      beforeAll(async () => {
        upstream = await Upstream.make(server.url, admin);
        database = new AdminDatabase(upstream.adminUrl, limits);
      });
      afterAll(async () => {
        await database.close();
        await upstream.close();
      });
      beforeEach(() => {
        [looks, ended] = [[], []];
        groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0, observer });
      });
      afterEach(async () => {
        groups.close();
        for (const session of open.splice(0)) await session.leave();
        for (const made of minted.splice(0)) await upstream.revoke(made.leaseId, made.minted);
        await query(upstream.adminUrl, 'DROP TABLE IF EXISTS shop.late');
        await new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0 }).sweep(database, place());
      });

      it('mints while a lease holds the locks that earlier releases took', async () => {
        const group = groupRoleName(place(), upstream.bounds, upstream.bounds);
        const key = (of: string) => createHash('sha256').update(of).digest().readBigInt64BE();
        const locks = [key('mayfly privileges'), key(`mayfly group ${group}`)];
        await hostile(
          upstream.bounds,
          locks.map((lock) => `SELECT pg_advisory_lock('${lock}'::bigint)`).join(';'),
        );
        await soon(lease(upstream.bounds));
        await soon(ensure({ privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.notes'] }));
      });

      it.each([
        ['a schema', 'GRANT USAGE ON SCHEMA shop TO PUBLIC'],
        ['a table', 'GRANT SELECT ON TABLE shop.orders TO PUBLIC'],
        ['a schema, from within a savepoint', 'SAVEPOINT a; GRANT USAGE ON SCHEMA shop TO PUBLIC; RELEASE a'],
      ])('ends the session of a lease that locks the row of %s by a GRANT of nothing', async (_, text) => {
        const reader: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'] };
        const { leaseId, session } = await hostile(reader, text);
        const honest = await hostile(reader, 'SELECT * FROM shop.orders');
        const scope: PostgresScope = { privileges: ['INSERT'], schemas: ['shop'], tables: ['shop.orders'] };
        const group = await soon(ensure(scope));
        expect(await privilegesOf(group, 'shop.orders')).toBe(false);
        await session.isCut;
        expect(ended.map(({ leaseIds }) => leaseIds)).toEqual([[leaseId]]);
        expect(await honest.session.works()).toBe(true);
        await groups.retire(database, place(), group, deadlineIn(deadlineMs));
      });

      it('ends them one after the other where many want the same row', async () => {
        const reader: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'] };
        const made = [await lease(reader), await lease(reader)];
        const grant = 'GRANT USAGE ON SCHEMA shop TO PUBLIC';
        open.push(await Hostile.in(made[0]?.minted ?? failed(), grant));
        const waiting = [0, 1, 0, 1, 0].map((index) => Hostile.in(made[index]?.minted ?? failed(), grant));
        for (const session of waiting) session.then((one) => open.push(one)).catch(() => undefined);
        const isQueued = async () =>
          (
            await upstream.asSuperuser(
              `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'TO PUBLIC'`,
            )
          ).length === waiting.length;
        while (!(await isQueued())) await sleep(20);
        await soon(ensure({ privileges: ['INSERT'], schemas: ['shop'], tables: ['shop.orders'] }));
        await Promise.allSettled(waiting);
        const ids = new Set(ended.flatMap(({ leaseIds }) => leaseIds));
        expect([...ids].sort()).toEqual(made.map(({ leaseId }) => leaseId).sort());
      });

      it('ends nobody who may lock a table: what is named must wait for it, a whole schema does without and gets it later', async () => {
        const { session } = await hostile(wide, 'TRUNCATE shop.other');
        const named = ensure({ privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.other'] });
        const error: unknown = await soon(named).catch((thrown: unknown) => thrown);
        expect(error).toBeInstanceOf(ProviderBusy);
        expect(error).toMatchObject({
          effect: 'none',
          reason: expect.stringContaining('table shop.other') as unknown,
        });

        const group = await soon(ensure({ privileges: ['SELECT'], schemas: ['shop'] }));
        expect(await privilegesOf(group, 'shop.orders')).toBe(true);
        expect(await privilegesOf(group, 'shop.other')).toBe(false);
        expect(looks.at(-1)).toMatchObject({ locked: { count: 1, examples: ['TABLE shop.other'] } });
        expect(ended).toEqual([]);
        expect(await session.works()).toBe(true);
        await session.leave();
        while (!(await privilegesOf(group, 'shop.other'))) await sleep(50);
        expect(looks.at(-1)).toMatchObject({ locked: { count: 0 } });
      });

      it('completes a group that exists as far as that goes, at once', async () => {
        const group = await ensure(wide);
        await query(
          upstream.adminUrl,
          'CREATE TABLE shop.late (id int); CREATE TABLE shop.later_yet (id int)',
        );
        try {
          const writer = await lease(wide);
          groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0, observer });
          await ensure(wide);
          await query(upstream.adminUrl, `REVOKE ALL ON shop.late, shop.later_yet FROM ${group}`);
          await query(upstream.adminUrl, `GRANT TRUNCATE ON shop.late TO ${group}`);
          open.push(await Hostile.in(writer.minted, 'TRUNCATE shop.late'));
          groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0, observer });
          expect(await soon(ensure(wide))).toBe(group);
          expect(await privilegesOf(group, 'shop.later_yet')).toBe(true);
          expect(looks.at(-1)).toMatchObject({ group, locked: { count: 1, examples: ['TABLE shop.late'] } });
        } finally {
          for (const session of open.splice(0)) await session.leave();
          await query(upstream.adminUrl, 'DROP TABLE shop.later_yet');
        }
      });

      it('lets what a lease does to its group hold up neither a mint nor the end of other groups', async () => {
        const scope: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.notes'] };
        const other: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.other'] };
        const group = await ensure(scope);
        const gone = await ensure(other);
        const facts = await upstream.facts();
        // Whoever may act as the group can lock its row, before PostgreSQL 16.
        const asGroup =
          facts.version < 160_000
            ? `SET ROLE ${group}; ALTER ROLE CURRENT_USER PASSWORD 'x'; RESET ROLE;`
            : '';
        const { leaseId } = await hostile(
          scope,
          `${asGroup} SELECT lo_create(0); SELECT lo_create(4242); GRANT SELECT ON LARGE OBJECT 4242 TO ${group}`,
        );
        await soon(lease(scope));
        expect(await soon(groups.sweep(database, place()))).toMatchObject({
          dropped: expect.arrayContaining([expect.stringMatching(retiredGroupPrefix(place()))]) as unknown,
          left: 0,
        });
        expect(await upstream.roles(`^${gone}$`)).toEqual([]);
        expect(await upstream.roles(`^${group}$`)).toEqual([group]);

        // Renamed with members and an open transaction that depends on it, it stays until both have gone.
        if (asGroup !== '') {
          await expect(
            soon(groups.retire(database, place(), group, deadlineIn(deadlineMs))),
          ).rejects.toMatchObject({
            code: 'provider_unavailable',
          });
        } else {
          const retired = await soon(groups.retire(database, place(), group, deadlineIn(deadlineMs)));
          await upstream.asSuperuser(
            `REVOKE ${retired} FROM ${minted.map((made) => loginRoleName(made.leaseId)).join(', ')} CASCADE`,
          );
          expect(await soon(groups.sweep(database, place()))).toMatchObject({ dropped: [], left: 1 });
        }
        expect(await upstream.roles(`^${loginRoleName(leaseId)}$`)).not.toEqual([]);
      });

      it('renames a group out of the way before it drops it, so that a mint that had found it still works', async () => {
        const scope: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.orders'] };
        const group = await ensure(scope);
        const creator = new pg.Client({ connectionString: upstream.adminUrl });
        await creator.connect();
        const late = `late_member_${upstream.database}`;
        try {
          // As a mint that has found the group by its name, and has not committed.
          await creator.query(`BEGIN; CREATE ROLE ${late}`);
          await creator.query(`GRANT ${group} TO ${late}`);
          groups = new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 60_000, observer });
          expect(await groups.sweep(database, place())).toMatchObject({
            retired: [group],
            dropped: [],
            left: 1,
          });
          await creator.query('COMMIT');
          const [row] = await upstream.asSuperuser(
            `SELECT has_table_privilege('${late}', 'shop.orders', 'SELECT') AS has`,
          );
          expect(row).toEqual({ has: true });
          // Another lease of the scope gets a group of the old name.
          const { minted: again } = await lease(scope);
          expect(await upstream.roles(`^${group}$`)).toEqual([group]);
          expect(await query(urlOf(again), 'SELECT * FROM shop.orders')).not.toEqual([]);
        } finally {
          await creator.end();
          await upstream.asSuperuser(`DROP ROLE IF EXISTS ${late}`);
        }
      });

      it('keeps a retired group for as long as a lease is a member of it', async () => {
        const scope: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.orders'] };
        const made = await lease(scope);
        const retired = await groups.retire(
          database,
          place(),
          groupRoleName(place(), scope, upstream.bounds),
          deadlineIn(deadlineMs),
        );
        expect(await groups.sweep(database, place())).toMatchObject({ dropped: [], left: 1 });
        expect(await query(urlOf(made.minted), 'SELECT * FROM shop.orders')).not.toEqual([]);
        await upstream.revoke(made.leaseId, made.minted);
        minted.splice(0);
        expect(await groups.sweep(database, place())).toMatchObject({ dropped: [retired], left: 0 });
        expect(await upstream.roles(`^${retired}$`)).toEqual([]);
      });

      it('drops what before PostgreSQL 16 a lease has left behind as its group, in another database too', async () => {
        if ((await upstream.facts()).version >= 160_000) return;
        const scope: PostgresScope = { privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.orders'] };
        const group = groupRoleName(place(), scope, upstream.bounds);
        const made = await lease(scope);
        const other = `${upstream.database}_group`;
        await upstream.asSuperuser(`CREATE DATABASE ${other}`, 'postgres');
        const openOther = (name: string) => new AdminDatabase(database.urlOf(name), limits);
        const opened: AdminDatabase[] = [];
        try {
          const elsewhere = new URL(urlOf(made.minted));
          elsewhere.pathname = `/${other}`;
          for (const url of [urlOf(made.minted), elsewhere.href])
            await query(url, `SET ROLE ${group}; SELECT lo_create(77)`);
          await upstream.revoke(made.leaseId, made.minted);
          minted.splice(0);
          expect(
            (
              await groups.sweep(database, place(), (name) => {
                const one = openOther(name);
                opened.push(one);
                return one;
              })
            ).left,
          ).toBe(0);
          for (const name of [upstream.database, other]) {
            expect(
              await upstream.asSuperuser('SELECT FROM pg_largeobject_metadata WHERE oid = 77', name),
            ).toEqual([]);
          }
        } finally {
          for (const one of opened) await one.close();
          await upstream.asSuperuser(`DROP DATABASE ${other} WITH (FORCE)`, 'postgres');
        }
      });

      it('makes its creator roles anew for a group, when somebody has dropped what they are members of', async () => {
        const creators = creatorRoles(await upstream.facts());
        if (creators === undefined) return;
        await ensure({ privileges: ['SELECT'], schemas: ['shop'], tables: ['shop.orders'] });
        await upstream.asSuperuser(`DROP OWNED BY ${creators.parent}; DROP ROLE ${creators.parent}`);
        await soon(ensure({ privileges: ['INSERT'], schemas: ['shop'], tables: ['shop.orders'] }));
        expect(await upstream.roles(`^${creators.parent}$`)).toEqual([creators.parent]);
      });

      it('makes many groups at once, from several processes', async () => {
        const privileges = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] as const;
        const scopes = ['shop.orders', 'shop.other', 'shop.notes'].flatMap((table) =>
          privileges.map((privilege): PostgresScope => ({
            privileges: [privilege],
            schemas: ['shop'],
            tables: [table],
          })),
        );
        const processes = [1, 2, 3].map(() => ({
          groups: new ScopeGroups({ freshMs: 60_000, deadlineMs: 10_000, retiredMs: 0 }),
          database: new AdminDatabase(upstream.adminUrl, limits),
        }));
        try {
          const names = await Promise.all(
            processes.flatMap((one) =>
              scopes.map((scope) => one.groups.ensure(one.database, place(), scope, upstream.bounds)),
            ),
          );
          expect(new Set(names).size).toBe(scopes.length);
        } finally {
          for (const one of processes) await one.database.close();
        }
      });
    });
  }
}
