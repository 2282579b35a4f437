/**
 * Up to PostgreSQL 14 a role administers itself: it may make others members of it. Up to 15 it may also become its group. From 16 on
 * neither is possible, which is the last entry.
 */
import { refused, type Attack } from '../attack.ts';
import type { Lessee } from '../lessee.ts';
import { gid, grantLargeObjectTo } from './own-role-statements.ts';

export const ownMemberships: readonly Attack[] = [
  {
    name: 'grants its role to the admin, and does not commit',
    to: 14,
    admin: 'createrole',
    attack: async ({ lessee, upstream }) => {
      await lessee.having(`BEGIN; GRANT ${lessee.role} TO ${upstream.admin}`);
    },
  },
  {
    name: 'grants its role to the admin, and prepares that',
    to: 14,
    attack: async ({ lessee, upstream }) => {
      await lessee.having(
        `BEGIN; GRANT ${lessee.role} TO ${upstream.admin}; PREPARE TRANSACTION '${gid(lessee)}'`,
      );
    },
  },
  {
    name: 'grants its role to the admin and takes it back, in a loop',
    to: 14,
    attack: async ({ lessee, upstream }) => {
      const session = await lessee.having(`GRANT ${lessee.role} TO ${upstream.admin}`);
      lessee.keep(async () => {
        await session.query(`REVOKE ${lessee.role} FROM ${upstream.admin}`);
        await session.query(`GRANT ${lessee.role} TO ${upstream.admin}`);
      });
    },
  },
  {
    name: 'has an accomplice take its role from the admin, in a loop',
    to: 14,
    attack: async ({ lessee, accomplices: [accomplice = lessee], upstream }) => {
      await lessee.having(`GRANT ${lessee.role} TO ${accomplice.role} WITH ADMIN OPTION`);
      const session = await accomplice.session();
      accomplice.keep(() => session.query(`REVOKE ${lessee.role} FROM ${upstream.admin}`));
    },
  },
  {
    name: 'grants its role to other leases, and does not commit',
    to: 14,
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours }) => {
      await accomplice.having(`BEGIN; GRANT ${accomplice.role} TO ${lessee.role}`);
      await lessee.having(`BEGIN; GRANT ${lessee.role} TO ${neighbours.join(', ')}`);
    },
  },
  {
    name: 'makes honest leases members of itself, and takes that back without committing',
    to: 14,
    holdsUpNeighbours: true,
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours }) => {
      const members = [lessee.role, ...neighbours].join(', ');
      await accomplice.having(`GRANT ${accomplice.role} TO ${members}`);
      await accomplice.having(`BEGIN; REVOKE ${accomplice.role} FROM ${members}`);
    },
  },
  {
    name: 'makes another lease a member of itself, and goes on taking that back',
    to: 14,
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await accomplice.having(`GRANT ${accomplice.role} TO ${lessee.role}`);
      await accomplice.having(`BEGIN; REVOKE ${accomplice.role} FROM ${lessee.role}`);
      lessee.keep(() => lessee.having('SELECT'));
    },
  },
  {
    name: 'lends its role to another lease, which goes on as it',
    to: 14,
    leases: [{}, { scope: { privileges: ['SELECT'], schemas: ['shop'] } }],
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await lessee.having(`GRANT ${lessee.role} TO ${accomplice.role}`);
      const session = await accomplice.having(`SET ROLE ${lessee.role}`);
      await lendPowers(lessee, () => session.query(`INSERT INTO shop.orders (note) VALUES ('late')`));
    },
  },
  {
    name: 'lends its role to another lease, which holds up its clean-up and goes on as it',
    to: 14,
    leases: [{}, { scope: { privileges: ['SELECT'], schemas: ['shop'] } }],
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await lessee.having(`GRANT ${lessee.role} TO ${accomplice.role}`);
      const session = await accomplice.having(`SET ROLE ${lessee.role}`);
      await accomplice.having(`BEGIN; ${grantLargeObjectTo(lessee.role)}`);
      await lendPowers(lessee, () => session.query(`INSERT INTO shop.orders (note) VALUES ('late')`));
    },
  },
  {
    name: 'makes things as its group and prepares more',
    to: 15,
    holdsUpNeighbours: true,
    attack: async ({ lessee, group }) => {
      await lessee.having(`SET ROLE ${group}; SELECT lo_create(0)`);
      await lessee.having(`SET ROLE ${group}; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC`);
      await lessee.having(
        `SET ROLE ${group}; BEGIN; SELECT lo_create(0); PREPARE TRANSACTION '${gid(lessee)}'`,
      );
      await lessee.having(`SET ROLE ${group}; SELECT lo_create(0)`, { database: 'postgres' });
    },
  },
  {
    name: 'has an accomplice prepare transactions as their group, again and again',
    to: 15,
    holdsUpNeighbours: true,
    attack: async ({ lessee, accomplices: [accomplice = lessee], group }) => {
      let count = 0;
      const session = await accomplice.having(`SET ROLE ${group}`);
      const prepare = () =>
        session.query(`BEGIN; SELECT 1; PREPARE TRANSACTION '${gid(accomplice, ++count)}'`);
      await prepare();
      accomplice.keep(async () => {
        await prepare();
        // Never without one, and never with all that the server has room for.
        await session.query(`ROLLBACK PREPARED '${gid(accomplice, count - 1)}'`);
      });
    },
  },
  {
    name: 'locks its group, and leaves it settings and a password',
    to: 15,
    attack: async ({ lessee, group }) => {
      await lessee.having(
        `SET ROLE ${group}; ALTER ROLE CURRENT_USER SET search_path = 'x'; ALTER ROLE CURRENT_USER PASSWORD 'x'`,
      );
      await lessee.having(`SET ROLE ${group}; BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'y'`);
    },
  },
  {
    name: 'locks its group in a transaction that is prepared',
    to: 15,
    attack: async ({ lessee, group }) => {
      await lessee.having(
        `SET ROLE ${group}; BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'y'; PREPARE TRANSACTION '${gid(lessee)}'`,
      );
    },
  },
  {
    name: 'tries to lend itself and to become its group',
    from: 16,
    attack: async ({ lessee, accomplices: [accomplice = lessee], group, upstream }) => {
      await refused(
        lessee,
        `SET ROLE ${group}`,
        `GRANT ${lessee.role} TO ${accomplice.role}`,
        `GRANT ${lessee.role} TO ${upstream.admin}`,
        `GRANT ${group} TO ${accomplice.role}`,
      );
    },
  },
];

/** Goes on for ever, and counts as the work of that lease. Works at first. */
async function lendPowers(lessee: Lessee, work: () => Promise<unknown>): Promise<void> {
  await lessee.uses(work);
  lessee.keep(() => lessee.uses(work));
}
