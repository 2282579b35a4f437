/** What a whole server has only so many of: connections, prepared transactions, and locks, which dropping things takes too. */
import { waitUntil } from '@mayfly/stack';
import type { Attack, Stage } from '../attack.ts';
import type { Lessee } from '../lessee.ts';
import { workshop } from '../upstream.ts';
import { mayCreate } from './objects.ts';

/** Takes connections until there are none, and each that comes free, for ever. */
async function takeAllConnections(lessees: readonly Lessee[], database?: string): Promise<void> {
  const take = async (lessee: Lessee) => {
    const session = await lessee.session(database === undefined ? {} : { database });
    await session.query('SELECT 1');
  };
  for (const lessee of lessees) {
    for (let taken = true; taken;) taken = await succeeds(take(lessee));
    for (let count = 0; count < 2; count++) lessee.keep(() => take(lessee));
  }
}

/**
 * Cuts the admin's connections, as a network or a restart does, and lets Mayfly have the one back that it keeps for ends. (Without such
 * a one, as after half a minute in which nothing was minted or ended.)
 */
async function cutTheAdmin({ upstream }: Stage): Promise<void> {
  const ofAdmin = `FROM pg_stat_activity WHERE usename = '${upstream.admin}'`;
  await upstream.asSuperuser(`SELECT pg_terminate_backend(pid) ${ofAdmin}`);
  const isBack = async () => (await upstream.asSuperuser(`SELECT ${ofAdmin}`)).length > 0;
  await waitUntil('the connection for ends', isBack, { deadlineMs: 3_000 }).catch(() => undefined);
}

function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

export const usedUp: readonly Attack[] = [
  {
    name: 'makes 20,000 large objects, which are more than the server has locks for',
    attack: async ({ lessee }) => {
      await lessee.having('SELECT lo_create(0) FROM generate_series(1, 20000)');
    },
  },
  {
    name: 'makes large objects with nine leases, with comments and contents',
    leases: Array.from({ length: 9 }, () => ({})),
    attack: async ({ lessee, accomplices }) => {
      await Promise.all(
        [lessee, ...accomplices].map((each) =>
          each.having(
            `DO $$ BEGIN
               FOR number IN 1..1500 LOOP
                 EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', lo_from_bytea(0, 'x'), E'"; DROP ROLE x; --''\\n');
                 IF number % 100 = 0 THEN COMMIT; END IF;
               END LOOP;
             END $$`,
          ),
        ),
      );
    },
  },
  {
    name: 'grants 5,000 large objects to each of the other leases, committed',
    holdsUpNeighbours: true,
    attack: async ({ lessee, neighbours }) => {
      await lessee.having(
        `DO $$ BEGIN
           FOR number IN 1..5000 LOOP
             EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO ${neighbours.join(', ')}', lo_create(0));
           END LOOP;
         END $$`,
      );
    },
  },
  {
    name: 'makes 1,000 tables',
    leases: [mayCreate, mayCreate],
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      for (const [each, count] of [
        [lessee, 1000],
        [accomplice, 100],
      ] as const) {
        await each.having(
          `DO $$ BEGIN
             FOR number IN 1..${String(count)} LOOP
               EXECUTE format('CREATE TABLE ${workshop}.%I (id serial PRIMARY KEY, note text)', current_user || number);
               IF number % 20 = 0 THEN COMMIT; END IF;
             END LOOP;
           END $$`,
        );
      }
      await lessee.having(`BEGIN; LOCK TABLE ${workshop}."${lessee.lease.role}7"`);
    },
  },
  {
    name: 'uses up all connections with one lease, whose ends come after a quiet time',
    leases: [{ settings: { connection_limit: 100 } }, {}],
    mintsMayFail: true,
    holdsUpNeighbours: true,
    attack: async (stage) => {
      await cutTheAdmin(stage);
      await takeAllConnections([stage.lessee]);
    },
  },
  {
    name: 'uses up all connections with one lease',
    leases: [{ settings: { connection_limit: 100 } }, {}, {}, {}],
    mintsMayFail: true,
    holdsUpNeighbours: true,
    attack: async ({ lessee }) => {
      await takeAllConnections([lessee]);
    },
  },
  {
    name: 'uses up all connections with many leases, in another database',
    leases: Array.from({ length: 8 }, () => ({})),
    mintsMayFail: true,
    holdsUpNeighbours: true,
    attack: async ({ lessee, accomplices }) => {
      await takeAllConnections([lessee, ...accomplices], 'postgres');
    },
  },
  {
    name: 'uses up all connections with sessions that are still being made',
    leases: [{ settings: { connection_limit: 100 } }, {}],
    mintsMayFail: true,
    holdsUpNeighbours: true,
    attack: async ({ lessee }) => {
      await takeAllConnections([lessee]);
      for (let count = 0; count < 8; count++) {
        lessee.keep(() => lessee.session({ options: '-c post_auth_delay=1' }));
      }
    },
  },
  {
    name: 'uses up all prepared transactions',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      const session = await accomplice.session();
      const prepare = (number: number) =>
        session.query(`BEGIN; SELECT 1; PREPARE TRANSACTION '${accomplice.lease.role} ${String(number)}'`);
      let number = 0;
      while (await succeeds(prepare(number))) number += 1;
      if (number === 0) throw new Error('nothing was prepared');
    },
  },
  {
    name: 'uses up all locks',
    mintsMayFail: true,
    holdsUpNeighbours: true,
    attack: async ({ lessee }) => {
      await useUpLocks(lessee);
    },
  },
];

/** Session-level locks, which the failure of the statement that took too many does not give back. */
async function useUpLocks(lessee: Lessee): Promise<void> {
  const session = await lessee.session();
  const all = await succeeds(
    session.query('SELECT pg_advisory_lock(number) FROM generate_series(1, 100000) number'),
  );
  if (all) throw new Error('the server had locks for all');
  lessee.keep(() =>
    session.query('SELECT pg_advisory_lock(nextval) FROM generate_series(100000, 100100) nextval'),
  );
}
