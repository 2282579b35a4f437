/** Large objects, which every role may make, in every database, and grant to every other. */
import type { Attack } from '../attack.ts';
import { odd } from '../odd-names.ts';
import { gid, grantLargeObjectTo } from './own-role-statements.ts';

export const largeObjects: readonly Attack[] = [
  {
    name: 'grants large objects to other leases in a transaction that stays open',
    holdsUpNeighbours: true,
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours }) => {
      for (const neighbour of neighbours) await accomplice.having(`BEGIN; ${grantLargeObjectTo(neighbour)}`);
      await lessee.having(`BEGIN; ${grantLargeObjectTo(accomplice.role)}`);
    },
  },
  {
    name: 'has an accomplice hold up its clean-up by a large object granted to it',
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await accomplice.having(`BEGIN; ${grantLargeObjectTo(lessee.role)}`);
    },
  },
  {
    name: 'grants large objects to other leases, prepared',
    holdsUpNeighbours: true,
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours }) => {
      for (const [number, neighbour] of [...neighbours, lessee.role].entries())
        await accomplice.having(
          `BEGIN; ${grantLargeObjectTo(neighbour)}; PREPARE TRANSACTION '${gid(accomplice, number)}'`,
        );
    },
  },
  {
    name: 'grants large objects to other leases, committed, and locks them again',
    holdsUpNeighbours: true,
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours }) => {
      for (const neighbour of [...neighbours, lessee.role]) {
        await accomplice.having(grantLargeObjectTo(neighbour));
      }
      await accomplice.having(
        `BEGIN; DO $$ DECLARE object oid; BEGIN
           FOR object IN SELECT oid FROM pg_largeobject_metadata WHERE lomowner = (SELECT oid FROM pg_roles WHERE rolname = current_user) LOOP
             EXECUTE format('GRANT UPDATE ON LARGE OBJECT %s TO PUBLIC', object);
           END LOOP;
         END $$`,
      );
    },
  },
  {
    name: 'grants large objects to the admin, to its group and to all',
    attack: async ({ lessee, group, upstream }) => {
      const to = [upstream.admin, group, 'PUBLIC'];
      const session = await lessee.session();
      for (const each of to) await session.query(grantLargeObjectTo(each));
      for (const each of to) await lessee.having(`BEGIN; ${grantLargeObjectTo(each)}`);
      await session.query(
        `BEGIN; ${grantLargeObjectTo(upstream.admin)}; ${grantLargeObjectTo(group)}; PREPARE TRANSACTION '${gid(lessee)}'`,
      );
    },
  },
  {
    name: 'makes large objects in other databases, also in one of an odd name',
    attack: async ({ lessee }) => {
      for (const database of ['postgres', 'template1', odd('database')]) {
        const session = await lessee.having(grantLargeObjectTo('PUBLIC'), { database });
        await session.query('SELECT lo_create(0) FROM generate_series(1, 500)');
      }
    },
  },
  {
    name: 'prepares large objects in other databases',
    attack: async ({ lessee }) => {
      for (const [number, database] of ['postgres', odd('database')].entries())
        await lessee.having(`BEGIN; SELECT lo_create(0); PREPARE TRANSACTION '${gid(lessee, number)}'`, {
          database,
        });
    },
  },
  {
    name: 'makes large objects in a loop',
    attack: async ({ lessee }) => {
      const session = await lessee.having('SELECT lo_create(0)');
      lessee.keep(() => session.query('SELECT lo_create(0) FROM generate_series(1, 10)'));
    },
  },
];
