/** What would have Mayfly's admin, or whoever else comes by, run the attacker's code. */
import { PostgresScope } from '@mayfly/domain';
import { refused, type Attack, type Stage } from '../attack.ts';
import type { Lessee } from '../lessee.ts';
import { workshop } from '../upstream.ts';
import { mayCreate } from './objects.ts';

/** Where the code that is run by others leaves its mark: readable and writable for all. */
const caught = 'caught.by';

/**
 * Operators, functions and a cast that fit the kind of thing that Mayfly's statements do better than PostgreSQL's own do: those take other
 * types, to which the arguments would have to be converted first. Each notes who ran it.
 */
function traps(schema: string): string {
  let number = 0;
  const operator = (name: string, left: string, right: string, result: string, back: string) => `
    CREATE FUNCTION ${schema}.trap${String(++number)}(${left}, ${right}) RETURNS ${result} LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO ${caught} VALUES (current_user, '${name}'); RETURN ${back}; END $$;
    CREATE OPERATOR ${schema}.${name} (LEFTARG = ${left}, RIGHTARG = ${right}, FUNCTION = ${schema}.trap${String(number)});`;
  const fn = (name: string, args: string, result: string, back: string) => `
    CREATE FUNCTION ${schema}.${name}(${args}) RETURNS ${result} LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO ${caught} VALUES (current_user, '${name}'); RETURN ${back}; END $$;`;
  return [
    operator('*', 'numeric', 'integer', 'numeric', '$1 OPERATOR(pg_catalog.*) $2::numeric'),
    operator('*', 'double precision', 'integer', 'double precision', '$1 OPERATOR(pg_catalog.*) $2::float8'),
    operator('=', 'name', 'varchar', 'boolean', 'true'),
    operator('~', 'name', 'varchar', 'boolean', 'true'),
    operator('||', 'text', 'varchar', 'text', '$1'),
    operator('>', 'bigint', 'numeric', 'boolean', 'true'),
    operator('>', 'double precision', 'bigint', 'boolean', 'false'),
    operator('>', 'double precision', 'integer', 'boolean', 'false'),
    fn('pg_advisory_xact_lock', 'integer', 'void', ''),
    fn('quote_literal', 'varchar', 'text', 'NULL'),
    fn('strpos', 'text, varchar', 'integer', '0'),
    fn('starts_with', 'name, text', 'boolean', 'true'),
    fn('to_char', 'timestamptz, varchar', 'text', "'x'"),
    fn('format', 'text, name', 'text', "'SELECT 1'"),
    fn('has_table_privilege', 'text, oid, text', 'boolean', 'true'),
    fn('pg_terminate_backend', 'bigint', 'boolean', 'true'),
    fn('set_config', 'varchar, varchar, boolean', 'text', 'NULL'),
  ].join('\n');
}

async function openTrapBook({ upstream }: Stage): Promise<void> {
  await upstream.asSuperuser(
    `CREATE SCHEMA IF NOT EXISTS caught; CREATE TABLE IF NOT EXISTS ${caught} (who name, what text); TRUNCATE ${caught};
     GRANT USAGE ON SCHEMA caught TO PUBLIC; GRANT ALL ON ${caught} TO PUBLIC`,
  );
}

async function whoWasCaught({ upstream }: Stage): Promise<string[]> {
  const rows = await upstream.asSuperuser(`SELECT DISTINCT who, what FROM ${caught}`);
  return rows.map(({ who, what }) => `${String(who)} ran the attacker's ${String(what)}`);
}

/** The traps work: whoever walks into one is noted. */
async function proveTraps(lessee: Lessee, schema: string): Promise<void> {
  const session = await lessee.having(`SET search_path = ${schema}`);
  await session.query('SELECT 2.0 * 2');
  const [row] = await session.query(`SELECT count(*)::int AS caught FROM ${caught}`);
  if (row?.['caught'] !== 1) throw new Error('the traps catch nobody');
  await session.query(`DELETE FROM ${caught}`);
}

/** The privilege is not one that a credential can have; where it is, this is what comes of it. */
const triggers = PostgresScope.safeParse({ privileges: ['SELECT', 'TRIGGER'], schemas: ['shop'] });
const references = PostgresScope.safeParse({ privileges: ['SELECT', 'REFERENCES'], schemas: ['shop'] });

const makeTrigger = `CREATE TRIGGER quiet BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`;
const makeReference = ({ lease }: Lessee) =>
  `CREATE TABLE ${workshop}."of ${lease.role}" (id int REFERENCES shop.orders ON DELETE RESTRICT)`;

export const asTheAdmin: readonly Attack[] = [
  {
    name: "makes operators and functions in public that fit better than PostgreSQL's",
    to: 14,
    attack: async (stage) => {
      await openTrapBook(stage);
      await stage.lessee.having(traps('public'));
      await proveTraps(stage.lessee, 'public');
    },
    also: whoWasCaught,
  },
  {
    name: "makes operators and functions that fit better in a schema of the admin's path",
    leases: [mayCreate, {}],
    attack: async (stage) => {
      const { upstream, lessee } = stage;
      await openTrapBook(stage);
      const path = `SET search_path = ${workshop}, pg_catalog, public`;
      await upstream.asSuperuser(
        `ALTER ROLE ${upstream.admin} ${path}; ALTER DATABASE ${upstream.database} ${path}`,
      );
      await lessee.having(traps(workshop));
      await proveTraps(lessee, workshop);
    },
    also: async (stage) => {
      const { admin, database } = stage.upstream;
      await stage.upstream.asSuperuser(
        `ALTER ROLE ${admin} RESET search_path; ALTER DATABASE ${database} RESET search_path`,
      );
      return whoWasCaught(stage);
    },
  },
  {
    name: 'puts a trigger on a table that others write to',
    leases: [triggers.success ? { scope: triggers.data } : {}, {}],
    attack: async ({ lessee }) => {
      if (triggers.success) await lessee.having(makeTrigger);
      else await refused(lessee, makeTrigger);
    },
  },
  {
    name: 'refers to a table from one of its own, and locks both',
    // The first reference to a table writes its row: see catalog-rows.ts.
    holdsUpNewScopes: true,
    leases: [{ ...mayCreate, ...(references.success && { scope: references.data }) }, {}],
    attack: async ({ lessee }) => {
      if (references.success) await lessee.having(`BEGIN; ${makeReference(lessee)}`);
      else await refused(lessee, makeReference(lessee));
    },
  },
  {
    name: 'refers to a table from one of its own, committed',
    leases: [{ ...mayCreate, ...(references.success && { scope: references.data }) }, {}],
    attack: async ({ lessee }) => {
      if (references.success) await lessee.having(makeReference(lessee));
      else await refused(lessee, makeReference(lessee));
    },
  },
];
