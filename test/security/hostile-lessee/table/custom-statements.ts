/** Credentials with statements of their own. */
import type { Attack, Stage } from '../attack.ts';
import type { Wish } from '../provider-under-test.ts';
import { workshop } from '../upstream.ts';
import { touchOwnRole } from './own-role-statements.ts';

const count = 'UPDATE shop.ended SET times = times + 1';

const custom: Wish = {
  settings: {
    creation_statements: [
      'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}} CONNECTION LIMIT 5',
      'GRANT USAGE ON SCHEMA shop TO {{name}}',
      'GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA shop TO {{name}}',
      `GRANT USAGE, CREATE ON SCHEMA ${workshop} TO {{name}}`,
    ],
    revocation_statements: [count, 'REVOKE UPDATE ON shop.orders FROM {{name}}'],
  },
};

/** Statements that name the customer's things without their schema. */
const onTheCustomersPath: Wish = {
  settings: {
    creation_statements: [
      'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}} IN ROLE {{group}}',
      'UPDATE ended SET times = times + 1',
    ],
    revocation_statements: ['UPDATE ended SET times = times + 1'],
  },
};

/** Sentences unless the statements that count have run at least so often: what fails half-way is run again. */
const counted =
  (atLeast: number) =>
  async ({ upstream }: Stage) => {
    const [row] = await upstream.asSuperuser('SELECT times FROM shop.ended');
    await upstream.asSuperuser('UPDATE shop.ended SET times = 0');
    const times = Number(row?.['times']);
    return times >= atLeast ? [] : [`the revocation statements ran ${String(times)} times`];
  };

export const customStatements: readonly Attack[] = [
  {
    name: 'holds a lease of custom statements and locks its own role',
    leases: [custom, custom],
    attack: async ({ lessee }) => {
      await lessee.having(`BEGIN; ${touchOwnRole(lessee)}`);
      await lessee.having(
        `CREATE TABLE ${workshop}."of ${lessee.lease.role}" (id serial); SELECT lo_create(0)`,
      );
    },
    also: counted(2),
  },
  {
    name: 'has an accomplice lock what its revocation statements write to',
    leases: [custom, custom],
    holdsUpNewScopes: true,
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await accomplice.having('BEGIN; LOCK TABLE shop.ended IN ACCESS EXCLUSIVE MODE');
      await lessee.having('BEGIN; SELECT * FROM shop.orders FOR UPDATE');
    },
    also: counted(2),
  },
  {
    name: 'has an accomplice prepare a lock of what its revocation statements write to',
    leases: [custom, custom],
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await accomplice.having(
        `BEGIN; UPDATE shop.ended SET times = times; PREPARE TRANSACTION '${accomplice.lease.role}'`,
      );
      await lessee.having('SELECT 1');
    },
    also: counted(2),
  },
  {
    name: "holds a lease of custom statements that rely on the customer's search path",
    attack: async ({ lessee, upstream }) => {
      await upstream.asSuperuser(`ALTER ROLE ${upstream.admin} SET search_path = shop`);
      await lessee.having('SELECT 1');
    },
    also: async (stage) => {
      // The path is the one of new connections.
      const fresh = stage.upstream.anotherBroker();
      try {
        const lease = await fresh.mint(onTheCustomersPath);
        await fresh.end(lease);
        return await counted(2)(stage);
      } finally {
        await fresh.close();
        await stage.upstream.asSuperuser(`ALTER ROLE ${stage.upstream.admin} RESET search_path`);
      }
    },
  },
];
