/** What mints, renewals and honest sessions are held up by, and must not be, while a lease is hostile. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { waitUntil } from '@mayfly/stack';
import pg from 'pg';
import { deadlineIn } from '../deadline.ts';
import { AdminDatabase } from './admin-database.ts';
import { endLockHolders } from './lock-holders.ts';
import { loginRoleName } from './role-names.ts';
import { deadlineMs, limits, query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

describe.each(servers)('beside hostile leases, at $name', ({ url }) => {
  describe.each(['superuser', 'createrole'] as const)('admin with %s', (admin) => {
    let upstream: Upstream;
    const clients: pg.Client[] = [];

    beforeEach(async () => {
      upstream = await Upstream.make(url, admin);
    });
    afterEach(async () => {
      await Promise.all(clients.splice(0).map((client) => client.end().catch(() => undefined)));
      await upstream.close();
    });

    const session = async (connectionString: string) => {
      const client = new pg.Client({ connectionString });
      client.on('error', () => undefined);
      clients.push(client);
      await client.connect();
      return client;
    };
    const lease = async () => {
      const leaseId = crypto.randomUUID();
      return { leaseId, minted: await upstream.mint(leaseId) };
    };
    const end = async (leases: readonly Awaited<ReturnType<typeof lease>>[]) => {
      for (const { leaseId, minted } of leases) {
        await upstream.revoke(leaseId, minted);
        await upstream.cleanUp(leaseId, minted);
      }
    };

    it('mints while leases that have locked their own rows renew in a loop', async () => {
      const hostile = [await lease(), await lease(), await lease(), await lease()];
      for (const { minted } of hostile) {
        const locker = await session(urlOf(minted));
        await locker.query("BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'x'");
      }
      let isOver = false;
      let refused = 0;
      const renewing = Array.from({ length: 12 }, async (_, index) => {
        const { leaseId, minted } = hostile[index % hostile.length] ?? failed();
        while (!isOver) if (!(await succeeds(upstream.renew(leaseId, minted, 600)))) refused++;
      });
      try {
        await waitUntil('renewals that fail', () => Promise.resolve(refused >= 12), { deadlineMs: 10_000 });
        const asked = performance.now();
        const honest = [await lease(), await lease()];
        expect(performance.now() - asked).toBeLessThan(2_000);
        await end(honest);
      } finally {
        isOver = true;
        await Promise.all(renewing);
      }
      await end(hostile);
    });

    it('hands nobody what a lease has made, and looks at none of it', async () => {
      const maker = await lease();
      const role = loginRoleName(maker.leaseId);
      await upstream.asSuperuser(
        `CREATE TABLE shop.of_lease (id serial); ALTER TABLE shop.of_lease OWNER TO ${role};
         DO $$ BEGIN FOR i IN 1..300 LOOP
           EXECUTE format('CREATE TABLE shop.many_%s (); ALTER TABLE shop.many_%s OWNER TO ${role}', i, i);
         END LOOP; END $$`,
      );
      const other = crypto.randomUUID();
      const minted = await upstream.mint(other, { privileges: ['SELECT', 'INSERT'], schemas: ['shop'] });
      expect(await succeeds(query(urlOf(minted), 'SELECT * FROM shop.orders'))).toBe(true);
      expect(await succeeds(query(urlOf(minted), 'SELECT * FROM shop.of_lease'))).toBe(false);
      const granted = await upstream.asSuperuser(
        `SELECT relname FROM pg_class WHERE relowner = '${role}'::regrole AND relacl::text LIKE '%mayfly_narrow%'`,
      );
      expect(granted).toEqual([]);
      await expect(
        upstream.mint(crypto.randomUUID(), {
          privileges: ['SELECT'],
          schemas: ['shop'],
          tables: ['shop.of_lease'],
        }),
      ).rejects.toMatchObject({ code: 'provider_rejected' });
      await end([maker, { leaseId: other, minted }]);
    });

    it('cuts no session that has locked another table of the scope as a whole than the last that was waited for', async () => {
      const honest = await lease();
      const role = loginRoleName(honest.leaseId);
      await upstream.asSuperuser(`GRANT TRUNCATE ON shop.other TO ${role}`);
      const truncating = await session(urlOf(honest.minted));
      await truncating.query('BEGIN; TRUNCATE shop.other');
      const database = new AdminDatabase(upstream.adminUrl, limits);
      const deadline = () => deadlineIn(deadlineMs);
      const mark = `/* group ${crypto.randomUUID()} */`;
      const waiting = succeeds(
        database.run(
          `${mark} SET LOCAL lock_timeout = 600; GRANT SELECT ON shop.other TO PUBLIC`,
          deadline(),
        ),
      );
      const ended = await endLockHolders(
        database,
        { mark, scope: upstream.narrower },
        await database.facts(deadline()),
        deadline(),
      );
      expect(ended).toEqual({ leaseIds: [], hasSeen: true });
      expect(await waiting).toBe(false);
      expect(await succeeds(truncating.query('SELECT 1'))).toBe(true);
      await truncating.query('ROLLBACK');
      await database.close();
      await upstream.asSuperuser(`REVOKE TRUNCATE ON shop.other FROM ${role}`);
      await end([honest]);
    });
  });
});

function failed(): never {
  throw new Error('there is no such lease');
}
