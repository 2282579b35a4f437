/**
 * Ends at a server of which the holders of leases have taken all that there is: every connection, every lock. Each case has the server to
 * itself, because no other spec could use it meanwhile.
 */
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';
import pg from 'pg';
import type { Minted } from '../provider.ts';
import { loginRoleName } from './role-names.ts';
import { query, succeeds, Upstream, urlOf } from './upstream.fixture.ts';

async function logIn(minted: Pick<Minted, 'secret'>): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: urlOf(minted) });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

const answers = (client: pg.Client) => succeeds(client.query('SELECT 1'));

describe('a server whose leases have taken everything', () => {
  let server: OwnPostgres;
  beforeAll(async () => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'mayfly-exhausted-'));
    chmodSync(dataDirectory, 0o711);
    server = await startPostgres({
      dataDirectory,
      removeOnStop: true,
      settings: {
        fsync: 'off',
        max_connections: '40',
        max_locks_per_transaction: '20',
        max_prepared_transactions: '5',
      },
    });
  });
  afterAll(() => server?.stop());

  describe.each(['superuser', 'createrole'] as const)('admin with %s', (admin) => {
    let upstream: Upstream;
    beforeAll(async () => {
      upstream = await Upstream.make(server.adminUrl, admin);
    });
    afterAll(() => upstream?.close());

    const lease = async () => {
      const leaseId = crypto.randomUUID();
      return { leaseId, role: loginRoleName(leaseId), minted: await upstream.mint(leaseId) };
    };
    type Lease = Awaited<ReturnType<typeof lease>>;
    const end = ({ leaseId, minted }: Lease) => upstream.revoke(leaseId, minted);
    const expectGone = async (one: Lease) => {
      await upstream.cleanUp(one.leaseId, one.minted);
      const sessions = await upstream.asSuperuser(
        `SELECT FROM pg_stat_activity WHERE usename = '${one.role}'`,
        'postgres',
      );
      expect(sessions).toEqual([]);
      expect(await succeeds(query(urlOf(one.minted), 'SELECT 1'))).toBe(false);
      expect(await upstream.roles(`^${one.role}$`)).toEqual([]);
    };

    it('ends access although leases hold every connection, and take each that becomes free', async () => {
      const [honest, greedy] = [await lease(), await lease()];
      await upstream.asSuperuser(`ALTER ROLE ${greedy.role} CONNECTION LIMIT 1000`);
      const held: pg.Client[] = [];
      let isOver = false;
      const takeAll = async () => {
        while (!isOver) {
          const client = await logIn(greedy.minted).catch(() => undefined);
          if (client !== undefined) held.push(client);
          else await new Promise(setImmediate);
        }
      };
      const taking = [takeAll(), takeAll()];
      await until(async () => !(await succeeds(logIn(honest.minted).then((client) => client.end()))));
      for (const one of [honest, greedy]) expect(['revoked', 'access_ended']).toContain(await end(one));
      isOver = true;
      await Promise.all(taking);
      for (const client of held) expect(await answers(client)).toBe(false);
      for (const one of [honest, greedy]) await expectGone(one);
    });

    it('ends access although a lease has taken every lock', async () => {
      const [honest, another, greedy] = [await lease(), await lease(), await lease()];
      const open = await logIn(honest.minted);
      const session = await logIn(greedy.minted);
      // Those that it got stay its own when the statement fails.
      await succeeds(session.query('SELECT pg_advisory_lock(i) FROM generate_series(1, 1000000) i'));
      expect(await succeeds(query(upstream.adminUrl, 'SELECT * FROM shop.orders'))).toBe(false);
      for (const one of [honest, another, greedy]) await end(one);
      expect(await answers(open)).toBe(false);
      expect(await answers(session)).toBe(false);
      for (const one of [honest, another, greedy]) await expectGone(one);
    });

    it.each(['its own database', 'another database'])(
      'ends access although a lease has taken nearly every lock in a transaction that it prepared in %s',
      async (where) => {
        const [honest, greedy] = [await lease(), await lease()];
        const url = new URL(urlOf(greedy.minted));
        if (where === 'another database') url.pathname = '/postgres';
        const session = new pg.Client(url.href);
        session.on('error', () => undefined);
        await session.connect();
        const takes = (count: number) =>
          succeeds(
            session.query(
              `ROLLBACK; BEGIN; SELECT pg_advisory_xact_lock(i) FROM generate_series(1, ${count}) i`,
            ),
          );
        for (let count = 4_000; !(await takes(count)); count -= 50);
        await session.query(`PREPARE TRANSACTION '${greedy.role} ''quoted'' \\ name'`);
        // The rest of them somebody has who is not to be cut.
        const stranger = new pg.Client(server.adminUrl);
        await stranger.connect();
        await succeeds(stranger.query('SELECT pg_advisory_lock(-i) FROM generate_series(1, 1000) i'));
        expect(await succeeds(query(upstream.adminUrl, 'SELECT * FROM shop.orders'))).toBe(false);
        expect(['revoked', 'access_ended']).toContain(await end(honest));
        expect(await upstream.asSuperuser('SELECT gid FROM pg_prepared_xacts')).toEqual([]);
        expect(['revoked', 'access_ended']).toContain(await end(greedy));
        await stranger.end();
        expect(await answers(session)).toBe(false);
        for (const one of [honest, greedy]) await expectGone(one);
      },
    );

    it('cuts nobody else where it is the clean-up of one lease that takes more locks than there are', async () => {
      const [honest, hoarder] = [await lease(), await lease()];
      const open = await logIn(honest.minted);
      // As a dump of many tables does.
      await open.query('BEGIN; SELECT pg_advisory_xact_lock(i) FROM generate_series(1, 600) i');
      await query(urlOf(hoarder.minted), 'SELECT lo_create(0) FROM generate_series(1, 20000)');
      expect(await end(hoarder)).toBe('access_ended');
      expect(await answers(open)).toBe(true);
      await open.query('COMMIT');
      await end(honest);
      for (const one of [honest, hoarder]) await expectGone(one);
    });
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition()));
}
