/** Sessions that don't want to be ended. */
import type { Attack } from '../attack.ts';
import { waitUntil } from '@mayfly/stack';
import type { Lessee } from '../lessee.ts';
import type { Upstream } from '../upstream.ts';
import { touchOwnRole } from './own-role-statements.ts';

/** PostgreSQL looks at interrupts between rows and calls, not within one expression: several seconds, and as many as one likes. */
const uninterruptible = `SELECT ${Array.from({ length: 150 }, () => 'many = many').join(' AND ')}
  FROM (SELECT array_fill(1, ARRAY[1000000]) AS many OFFSET 0) AS a`;

/** Logs in, works and leaves, several times at once. */
function storm(lessee: Lessee, times = 4): void {
  for (let count = 0; count < times; count++) {
    lessee.keep(async () => {
      const session = await lessee.having('SELECT note FROM shop.orders');
      await session.leave();
    });
  }
}

/** How many have proved who they are and are not yet listed as sessions: they hold a lock of the database, by whose name they ask. */
async function startingSessions(upstream: Upstream): Promise<number> {
  const [row] = await upstream.asSuperuser(
    `SELECT count(*)::int AS starting FROM pg_locks l JOIN pg_database d ON d.oid = l.objid AND d.datname = $1
      WHERE l.locktype = 'object' AND l.classid = 'pg_database'::regclass AND l.mode = 'RowExclusiveLock'
        AND NOT EXISTS (SELECT FROM pg_stat_get_activity(l.pid) WHERE state IS NOT NULL AND state <> 'starting')`,
    [upstream.database],
  );
  return Number(row?.['starting']);
}

export const sessions: readonly Attack[] = [
  {
    name: 'logs in again and again',
    attack: async ({ lessee, accomplices }) => {
      for (const each of [lessee, ...accomplices]) storm(each);
    },
  },
  {
    name: 'logs in slowly, so that its sessions are not seen until after its end',
    attack: async ({ lessee, upstream }) => {
      const before = await startingSessions(upstream);
      for (let count = 0; count < 3; count++) {
        lessee.outlast(async () => {
          // A setting that everybody may give at log-in, in seconds.
          const session = await lessee.session({ options: '-c post_auth_delay=8' });
          await session.query('SELECT note FROM shop.orders');
        });
      }
      await waitUntil('their log-in', async () => (await startingSessions(upstream)) >= before + 3, {
        deadlineMs: 4_000,
      });
    },
  },
  {
    name: 'ignores being cancelled',
    attack: async ({ lessee }) => {
      const session = await lessee.session();
      session.send(
        `DO $$ BEGIN LOOP
           BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled OR OTHERS THEN NULL; END;
         END LOOP; END $$`,
      );
      const inTransaction = await lessee.having('BEGIN; SELECT * FROM shop.orders');
      inTransaction.send(
        `DO $$ BEGIN LOOP
           BEGIN LOOP PERFORM 1; END LOOP; EXCEPTION WHEN query_canceled OR OTHERS THEN NULL; END;
         END LOOP; END $$`,
      );
    },
  },
  {
    name: 'cannot be interrupted for some seconds',
    ends: 'after its statement',
    attack: async ({ lessee }) => {
      (await lessee.session()).send(uninterruptible);
      storm(lessee, 2);
    },
  },
  {
    name: 'cannot be interrupted for some seconds, while it locks its own role',
    ends: 'after its statement',
    attack: async ({ lessee }) => {
      (await lessee.having(`BEGIN; ${touchOwnRole(lessee)}`)).send(uninterruptible);
      storm(lessee, 2);
    },
  },
  {
    name: 'reads nothing of what the server sends',
    attack: async ({ lessee }) => {
      for (let count = 0; count < 3; count++) {
        const session = await lessee.having('BEGIN; UPDATE shop.orders SET note = note WHERE id < 0');
        session.stopReading();
        session.send(`SELECT repeat('x', 1000000) FROM generate_series(1, 1000)`);
      }
    },
  },
  {
    name: 'copies in and out without an end',
    attack: async ({ lessee }) => {
      const into = await lessee.having('CREATE TEMP TABLE filled (line text)');
      await into.beginCopyIn('filled');
      const shop = await lessee.session();
      await shop.beginCopyIn('shop.orders (note)');
      const out = await lessee.session();
      out.stopReading();
      out.send(`COPY (SELECT repeat('x', 1000000) FROM generate_series(1, 1000)) TO STDOUT`);
    },
  },
  {
    name: 'leaves a pipeline unfinished',
    attack: async ({ lessee }) => {
      const session = await lessee.session();
      await session.runWithoutSync(`UPDATE shop.orders SET note = 'b' WHERE id = 1`);
      const role = await lessee.session();
      await role.runWithoutSync(`ALTER ROLE ${lessee.role} PASSWORD '${lessee.lease.password}'`);
    },
  },
  {
    name: 'holds cursors beyond their transactions, temporary tables and temporary files',
    attack: async ({ lessee }) => {
      await lessee.having(
        `SET work_mem = '64kB'; SET temp_buffers = '100';
         BEGIN; DECLARE held CURSOR WITH HOLD FOR SELECT number, repeat('x', 100) FROM generate_series(1, 100000) number ORDER BY 2, 1 DESC;
         COMMIT; FETCH 10 FROM held`,
      );
      await lessee.having(
        `CREATE TEMP TABLE "temp ""'." AS SELECT number, repeat('x', 500) AS filling FROM generate_series(1, 20000) number;
         CREATE TEMP SEQUENCE counting; CREATE TEMP VIEW seen AS SELECT * FROM shop.orders;
         CREATE FUNCTION pg_temp.answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
         BEGIN; LOCK TABLE "temp ""'."`,
      );
      (await lessee.having(`SET work_mem = '64kB'`)).send(
        `SELECT count(*) FROM (SELECT number FROM generate_series(1, 5000000) number ORDER BY number DESC) sorted`,
      );
    },
  },
  {
    name: 'listens, and notifies in transactions that stay open',
    attack: async ({ lessee }) => {
      await lessee.having(`LISTEN "odd ""'. channel"`);
      await lessee.having(`LISTEN other; BEGIN; SELECT 1`);
      const session = await lessee.having(`NOTIFY other, '${'x'.repeat(7000)}'`);
      lessee.keep(() =>
        session.query(`SELECT pg_notify('other', repeat('x', 7000)) FROM generate_series(1, 100)`),
      );
      await lessee.having(`BEGIN; NOTIFY other; SELECT * FROM shop.orders`);
    },
  },
  {
    name: "locks the customer's tables and rows",
    holdsUpNewScopes: true,
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await lessee.having(`BEGIN; UPDATE shop.orders SET note = 'mine'`);
      await accomplice.having(`BEGIN; LOCK TABLE shop.ended IN ACCESS EXCLUSIVE MODE`);
      await accomplice.having(
        `BEGIN; LOCK TABLE pg_catalog.pg_class, pg_catalog.pg_namespace IN ACCESS SHARE MODE`,
      );
      await lessee.having(`BEGIN; SELECT nextval('shop.orders_id_seq')`);
    },
  },
];
