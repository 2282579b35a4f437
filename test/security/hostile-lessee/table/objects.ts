/**
 * Objects of leases that may create somewhere: by custom statements, and up to PostgreSQL 14 in the schema public of every
 * database.
 */
import pg from 'pg';
import type { Attack } from '../attack.ts';
import type { Lessee } from '../lessee.ts';
import type { Wish } from '../provider-under-test.ts';
import { odd } from '../odd-names.ts';
import { workshop } from '../upstream.ts';

/** A lease that may create in a schema of the customer's. */
export const mayCreate: Wish = {
  settings: {
    creation_statements: [
      'CREATE ROLE {{name}} LOGIN PASSWORD {{verifier}} VALID UNTIL {{expiration}} CONNECTION LIMIT 20',
      'GRANT {{group}} TO {{name}}',
      `GRANT USAGE, CREATE ON SCHEMA ${workshop} TO {{name}}`,
    ],
  },
};

/** May read only, and create. */
const mayReadAndCreate: Wish = { ...mayCreate, scope: { privileges: ['SELECT'], schemas: ['shop'] } };

/** Such a name, quoted. */
const oddName = (beginning: string) => pg.escapeIdentifier(odd(beginning));

const inWorkshop = ({ lease }: Lessee, what: string) => `${workshop}."${what} of ${lease.role}"`;

export const objects: readonly Attack[] = [
  {
    name: 'makes tables in public, here and in other databases',
    to: 14,
    attack: async ({ lessee }) => {
      for (const database of [undefined, 'postgres', odd('database')])
        await lessee.having(
          `DO $$ BEGIN
             FOR number IN 1..50 LOOP
               EXECUTE format('CREATE TABLE public.%I (id serial PRIMARY KEY)', current_user || number);
             END LOOP;
           END $$`,
          database === undefined ? {} : { database },
        );
    },
  },
  {
    name: 'gives odd names of 63 bytes to everything',
    leases: [mayCreate, {}],
    attack: async ({ lessee }) => {
      await lessee.having(
        `CREATE TABLE ${workshop}.${oddName('table')} (${oddName('column')} serial, other int, CONSTRAINT ${oddName('key')} PRIMARY KEY (${oddName('column')}));
         CREATE INDEX ${oddName('index')} ON ${workshop}.${oddName('table')} (${oddName('column')});
         CREATE VIEW ${workshop}.${oddName('view')} AS SELECT 1 AS ${oddName('column')};
         CREATE SEQUENCE ${workshop}.${oddName('sequence')};
         CREATE TYPE ${workshop}.${oddName('type')} AS ENUM ('"''');
         CREATE DOMAIN ${workshop}.${oddName('domain')} AS int;
         CREATE FUNCTION ${workshop}.${oddName('function')}() RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE AGGREGATE ${workshop}.${oddName('aggregate')}(int) (SFUNC = int4pl, STYPE = int);
         CREATE COLLATION ${workshop}.${oddName('collation')} FROM "C";
         CREATE STATISTICS ${workshop}.${oddName('statistics')} ON ${oddName('column')}, other FROM ${workshop}.${oddName('table')}`,
      );
      await lessee.having(`COMMENT ON TABLE ${workshop}.${oddName('table')} IS E'"; DROP ROLE x; --''\\n'`);
      await lessee.having(`CREATE TEMP TABLE ${oddName('temporary')} (id int)`);
      await lessee.having(`LISTEN ${oddName('channel')}; BEGIN; PREPARE ${oddName('statement')} AS SELECT 1`);
    },
  },
  {
    name: 'has views and functions of two leases depend on each other',
    leases: [mayCreate, mayCreate],
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      const first = await lessee.session();
      const second = await accomplice.session();
      for (const [session, owner, other] of [
        [first, lessee, accomplice],
        [second, accomplice, lessee],
      ] as const)
        await session.query(
          `CREATE TABLE ${inWorkshop(owner, 'table')} AS SELECT 1 AS number; GRANT ALL ON ${inWorkshop(owner, 'table')} TO ${other.role};
           CREATE FUNCTION ${inWorkshop(owner, 'function')}() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
        );
      await first.query(
        `CREATE VIEW ${inWorkshop(lessee, 'view')} AS SELECT * FROM ${inWorkshop(accomplice, 'table')}`,
      );
      await second.query(
        `CREATE VIEW ${inWorkshop(accomplice, 'view')} AS SELECT number, ${inWorkshop(lessee, 'function')}() AS answer FROM ${inWorkshop(lessee, 'table')}`,
      );
    },
  },
  {
    name: 'leaves a view and a function with its own rights to a lease with fewer',
    leases: [mayCreate, mayReadAndCreate],
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee] }) => {
      await lessee.having(
        `CREATE FUNCTION ${inWorkshop(lessee, 'writer')}() RETURNS void LANGUAGE sql SECURITY DEFINER AS
           $$ INSERT INTO shop.orders (note) VALUES ('late') $$;
         CREATE VIEW ${inWorkshop(lessee, 'writable')} AS SELECT * FROM shop.orders;
         GRANT ALL ON ${inWorkshop(lessee, 'writable')} TO ${accomplice.role}`,
      );
      const session = await accomplice.session();
      const powers = [
        `SELECT ${inWorkshop(lessee, 'writer')}()`,
        `UPDATE ${inWorkshop(lessee, 'writable')} SET note = 'late' WHERE id = 1`,
      ];
      for (const power of powers) await lessee.uses(() => session.query(power));
      let turn = 0;
      lessee.keep(() => {
        turn += 1;
        return lessee.uses(() => session.query(powers[turn % powers.length] ?? ''));
      });
      // Holds up its clean-up, so that what it owns is there a while longer.
      await accomplice.having(
        `CREATE VIEW ${inWorkshop(accomplice, 'dependent')} AS SELECT * FROM ${inWorkshop(lessee, 'writable')}`,
      );
    },
  },
  {
    name: 'has policies and default privileges name other leases, and locks them',
    leases: [mayCreate, mayCreate],
    holdsUpNeighbours: true,
    cleanUpWaitsFor: 'accomplices',
    attack: async ({ lessee, accomplices: [accomplice = lessee], neighbours }) => {
      const table = inWorkshop(accomplice, 'guarded');
      const others = [lessee.role, ...neighbours].join(', ');
      await accomplice.having(
        `CREATE TABLE ${table} (id int); CREATE POLICY theirs ON ${table} TO ${others} USING (true);
         ALTER DEFAULT PRIVILEGES IN SCHEMA ${workshop} GRANT SELECT ON TABLES TO ${others};
         ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO ${others}, PUBLIC;
         BEGIN; LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE;
         ALTER DEFAULT PRIVILEGES GRANT SELECT ON SEQUENCES TO ${others}`,
      );
    },
  },
  {
    name: 'makes triggers, rules, sequences and foreign keys of its own',
    leases: [{ ...mayCreate, scope: { privileges: ['SELECT', 'INSERT', 'UPDATE'], schemas: ['shop'] } }, {}],
    attack: async ({ lessee }) => {
      const table = inWorkshop(lessee, 'table');
      await lessee.having(
        `CREATE TABLE ${table} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent bigint REFERENCES ${table}, note text);
         CREATE FUNCTION ${inWorkshop(lessee, 'trigger')}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER "odd ""'." BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION ${inWorkshop(lessee, 'trigger')}();
         CREATE RULE "odd ""'." AS ON DELETE TO ${table} DO INSTEAD NOTHING;
         CREATE SEQUENCE ${inWorkshop(lessee, 'sequence')} OWNED BY ${table}.note;
         CREATE MATERIALIZED VIEW ${inWorkshop(lessee, 'stored')} AS SELECT * FROM shop.orders;
         CREATE OPERATOR ${workshop}.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
         BEGIN; SELECT nextval('${inWorkshop(lessee, 'sequence')}')`,
      );
    },
  },
  {
    name: 'makes tables in a loop',
    leases: [mayCreate, {}],
    attack: async ({ lessee }) => {
      let number = 0;
      const again = async (create: (text: string) => Promise<unknown>) => {
        number += 1;
        await create(`CREATE TABLE ${inWorkshop(lessee, String(number))} (id serial)`);
      };
      const session = await lessee.session();
      await again((text) => session.query(text));
      lessee.keep(() => again((text) => session.query(text)));
    },
  },
];
