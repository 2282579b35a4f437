/**
 * Ends against the holder of a lease who does not want it to end, at real PostgreSQL servers. Whatever it does inside the database,
 * afterwards nobody can log in as it and no session of it is left; and what it leaves behind keeps nobody.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import type { Minted } from '../provider.ts';
import { loginRoleName } from './role-names.ts';
import { query, servers, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

/** A session of a lease. */
async function logIn(minted: Pick<Minted, 'secret'>, more: pg.ClientConfig = {}): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: urlOf(minted), ...more });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Whether a session still answers. */
const answers = (client: pg.Client) => succeeds(client.query('SELECT 1'));

for (const server of servers) {
  for (const admin of ['superuser', 'createrole'] as const) {
    describe(`the end of a hostile lease (${server.name}, admin with ${admin})`, () => {
      let upstream: Upstream;
      let version = 0;
      beforeAll(async () => {
        upstream = await Upstream.make(server.url, admin);
        version = (await upstream.facts()).version;
      });
      afterAll(() => upstream.close());

      const lease = async () => {
        const leaseId = crypto.randomUUID();
        return { leaseId, role: loginRoleName(leaseId), minted: await upstream.mint(leaseId) };
      };
      type Lease = Awaited<ReturnType<typeof lease>>;
      const end = ({ leaseId, minted }: Lease) => upstream.revoke(leaseId, minted);
      const cleanUp = ({ leaseId, minted }: Lease) => upstream.cleanUp(leaseId, minted);

      const expectNoAccess = async ({ role, minted }: Lease) => {
        const [left] = await upstream.asSuperuser(
          `SELECT (SELECT count(*)::int FROM pg_stat_activity WHERE usename = '${role}') AS sessions,
                  (SELECT count(*)::int FROM pg_prepared_xacts WHERE owner = '${role}') AS prepared,
                  (SELECT count(*)::int FROM pg_roles WHERE rolname = '${role}' AND rolcanlogin) AS logins`,
        );
        expect(left).toEqual({ sessions: 0, prepared: 0, logins: 0 });
        expect(await succeeds(query(urlOf(minted), 'SELECT 1'))).toBe(false);
      };
      const expectGone = async (one: Lease) => {
        await expectNoAccess(one);
        expect(await upstream.roles(`^${one.role}$`)).toEqual([]);
      };

      it('waits for no lock on its own row that sessions of the lease hold', async () => {
        const one = await lease();
        const sessions = await Promise.all([logIn(one.minted), logIn(one.minted), logIn(one.minted)]);
        await sessions[0]?.query(`BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'x'`);
        for (const session of sessions.slice(1))
          void succeeds(session.query(`ALTER ROLE CURRENT_USER PASSWORD 'y'`));
        expect(await end(one)).toBe('revoked');
        for (const session of sessions) expect(await answers(session)).toBe(false);
        await expectGone(one);
      });

      it('rolls back what the lease has prepared, in whichever database', async () => {
        const one = await lease();
        for (const [gid, database] of [
          [`here ${one.role}`, undefined],
          [`there ${one.role}`, 'postgres'],
        ] as const) {
          const session = await logIn(
            one.minted,
            database === undefined
              ? {}
              : { connectionString: urlOf(one.minted).replace(upstream.database, database) },
          );
          await session.query(`BEGIN; SELECT lo_create(0);`);
          if (database === undefined) await session.query(`ALTER ROLE CURRENT_USER PASSWORD 'x'`);
          await session.query(`PREPARE TRANSACTION '${gid}'`);
          await session.end();
        }
        expect(await end(one)).toBe('revoked');
        await expectGone(one);
      });

      it('cuts a session that has logged in and is not seen yet', async () => {
        const one = await lease();
        const late = new pg.Client({ connectionString: urlOf(one.minted), options: '-c post_auth_delay=20' });
        late.on('error', () => undefined);
        const starting = late.connect().then(() => answers(late));
        const seen = async () =>
          (
            await upstream.asSuperuser(
              `SELECT FROM pg_locks l WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass
                 AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid AND a.usesysid IS NOT NULL)`,
            )
          ).length > 0;
        while (!(await seen()));
        expect(await end(one)).toBe('revoked');
        expect(await starting.catch(() => false)).toBe(false);
        await expectGone(one);
      });

      it('takes no notice of what the lease grants itself to, on servers that let it', async () => {
        if (version >= 150_000) return;
        const [one, other] = [await lease(), await lease()];
        const session = await logIn(one.minted);
        await session.query(`GRANT ${one.role} TO ${other.role}`);
        await session.query(
          `BEGIN; GRANT ${one.role} TO ${upstream.admin}; SELECT lo_create(0); PREPARE TRANSACTION 'grant ${one.role}'`,
        );
        const acting = await logIn(other.minted);
        await acting.query(`SET ROLE ${one.role}`);
        expect(await succeeds(acting.query('SELECT * FROM shop.orders'))).toBe(true);
        await end(one);
        await expectNoAccess(one);
        expect(await succeeds(acting.query('SELECT * FROM shop.orders'))).toBe(false);
        await cleanUp(one);
        await expectGone(one);
        await end(other);
        await expectGone(other);
      });

      it('removes what the lease made as its group, so that the next one does not find it', async () => {
        if (version >= 160_000) return;
        const one = await lease();
        const [group] = await upstream.asSuperuser(
          `SELECT g.rolname AS name FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = '${one.role}'::regrole`,
        );
        const session = await logIn(one.minted);
        await session.query(
          `SET ROLE ${String(group?.['name'])}; SELECT lo_create(0); ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC`,
        );
        await session.query(`BEGIN; SELECT lo_create(0); PREPARE TRANSACTION 'group ${one.role}'`);
        expect(await end(one)).toBe('access_ended');
        await cleanUp(one);
        await expectGone(one);
        const next = await lease();
        const [nextGroup] = await upstream.asSuperuser(
          `SELECT g.oid FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = '${next.role}'::regrole`,
        );
        expect(
          await upstream.asSuperuser(
            `SELECT FROM pg_shdepend WHERE refobjid = ${String(nextGroup?.['oid'])} AND deptype = 'o'`,
          ),
        ).toEqual([]);
        expect(await succeeds(query(urlOf(next.minted), 'SELECT * FROM shop.orders'))).toBe(true);
        await end(next);
      });

      it('ends access at once where there is too much to clean up, and cleans up in batches', async () => {
        const one = await lease();
        const session = await logIn(one.minted);
        await session.query('SELECT lo_create(0) FROM generate_series(1, 20000)');
        expect(await end(one)).toBe('access_ended');
        await expectNoAccess(one);
        expect(await answers(session)).toBe(false);
        await cleanUp(one);
        await expectGone(one);
        expect(await end(one)).toBe('already_gone');
        await cleanUp(one);
      });

      it('ends access at once where another lease holds the role, and lets that one hold up nothing', async () => {
        const [victim, attacker] = [await lease(), await lease()];
        const session = await logIn(attacker.minted);
        await session.query('SELECT lo_create(0) FROM generate_series(1, 300)');
        await session.query(
          `DO $$ DECLARE o oid; BEGIN FOR o IN SELECT oid FROM pg_largeobject_metadata WHERE lomowner = current_user::regrole LOOP
             EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO ${victim.role}', o); END LOOP; END $$`,
        );
        await session.query(`BEGIN; SELECT lo_create(424242)`);
        await session.query(`GRANT SELECT ON LARGE OBJECT 424242 TO ${victim.role}`);
        expect(await end(victim)).toBe('access_ended');
        await expectNoAccess(victim);
        await cleanUp(victim);
        await expectGone(victim);
        // It did what no lease has a reason to do.
        expect(await answers(session)).toBe(false);
        await end(attacker);
        await cleanUp(attacker);
        await expectGone(attacker);
      });
    });
  }
}
