/**
 * Rows of the catalogs that describe the customer's tables, schemas and databases. Who has any privilege on one may GRANT it: without a grant
 * option that does nothing but warn, and still writes the row, which is locked until the transaction is over. Nobody else can grant
 * anything there meanwhile, so a scope that nobody has had yet has to wait; a scope that is known, and every end, must not.
 */
import type { Attack, Stage } from '../attack.ts';
import { mayCreate } from './objects.ts';
import { gid } from './own-role-statements.ts';

const grantsOfEverything = ({ upstream, neighbours }: Stage): string[] => {
  const others = neighbours.join(', ');
  return [
    `GRANT SELECT ON shop.orders TO ${others}`,
    `GRANT USAGE ON SCHEMA shop TO ${others}`,
    `GRANT CONNECT ON DATABASE ${upstream.database} TO ${others}`,
  ];
};

export const catalogRows: readonly Attack[] = [
  {
    name: 'grants what it may not grant, in transactions that stay open',
    leases: [{ scope: { privileges: ['SELECT'], schemas: ['shop'] } }, {}],
    holdsUpNewScopes: true,
    attack: async (stage) => {
      for (const grant of grantsOfEverything(stage)) await stage.lessee.having(`BEGIN; ${grant}`);
    },
  },
  {
    name: 'grants what it may not grant, in a transaction that is prepared',
    leases: [{ scope: { privileges: ['SELECT'], schemas: ['shop'] } }, {}],
    holdsUpNewScopes: true,
    attack: async (stage) => {
      const { lessee } = stage;
      await lessee.having(
        ['BEGIN', ...grantsOfEverything(stage), `PREPARE TRANSACTION '${gid(lessee)}'`].join('; '),
      );
    },
  },
  {
    name: 'grants what it may not grant, in a loop',
    holdsUpNewScopes: true,
    attack: async (stage) => {
      const session = await stage.lessee.session();
      const again = () => session.query(['BEGIN', ...grantsOfEverything(stage), 'COMMIT'].join('; '));
      await again();
      stage.lessee.keep(again);
    },
  },
  {
    name: 'has an accomplice lock the rows that its own clean-up writes to',
    leases: [mayCreate, {}],
    holdsUpNewScopes: true,
    cleanUpWaitsFor: 'accomplices',
    attack: async (stage) => {
      const {
        lessee,
        accomplices: [accomplice = lessee],
        upstream,
      } = stage;
      await upstream.asSuperuser(`GRANT SELECT ON shop.orders TO ${lessee.role}`);
      for (const grant of grantsOfEverything(stage)) await accomplice.having(`BEGIN; ${grant}`);
    },
  },
  {
    name: "truncates the customer's table in a transaction that stays open",
    leases: [{ scope: { privileges: ['SELECT', 'TRUNCATE'], schemas: ['shop'] } }, {}],
    holdsUpNewScopes: true,
    attack: async ({ lessee }) => {
      await lessee.having('BEGIN; TRUNCATE shop.ended');
    },
  },
  {
    name: 'drops what its group owns and may do, and takes over its objects',
    attack: async ({ lessee, accomplices: [accomplice = lessee], group, neighbours }) => {
      for (const text of [
        `DROP OWNED BY ${group}`,
        `REASSIGN OWNED BY ${group} TO ${lessee.role}`,
        `REVOKE ALL ON shop.orders FROM ${[group, ...neighbours].join(', ')}`,
      ])
        await lessee.having(text);
      await accomplice.having('SELECT note FROM shop.orders');
    },
  },
  {
    name: 'drops what its group owns, in a transaction that stays open',
    holdsUpNewScopes: true,
    attack: async ({ lessee, group }) => {
      await lessee.having(`BEGIN; DROP OWNED BY ${group}`);
    },
  },
  {
    name: 'sets default privileges of its group, for others and for all',
    holdsUpNeighbours: true,
    attack: async ({ lessee, accomplices: [accomplice = lessee], group, neighbours, upstream }) => {
      const session = await lessee.session();
      for (const text of [
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${group} GRANT SELECT ON TABLES TO PUBLIC`,
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${group} GRANT ALL ON FUNCTIONS TO ${neighbours.join(', ')}`,
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${group} GRANT ALL ON SCHEMAS TO ${upstream.admin}`,
      ])
        await session.query(text);
      await accomplice.having('SELECT 1');
    },
  },
  {
    name: 'sets default privileges of its group for others, in transactions that stay open and are prepared',
    holdsUpNeighbours: true,
    attack: async ({ lessee, group, neighbours }) => {
      const grant = (what: string) =>
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${group} GRANT ALL ON ${what} TO ${neighbours.join(', ')}`;
      await lessee.having(`BEGIN; ${grant('TABLES')}`);
      await lessee.having(`BEGIN; ${grant('SEQUENCES')}; PREPARE TRANSACTION '${gid(lessee)}'`);
    },
  },
];
