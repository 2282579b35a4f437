/**
 * A schema that shadows what pg_catalog has: for each function, aggregate, operator, type and relation of some names one with the same
 * arguments. Each takes a number of its name's sequence when it is used, which no rollback takes back, and fails.
 */
import { runOnce, type Row } from './rows.ts';
import type pg from 'pg';

/** Stands first in the search path of those who are to walk into it. */
export const shadowSchema = 'shadow';
export const shadowPath = `${shadowSchema}, pg_catalog, public`;

export interface Shadowed {
  /** Names of which there are shadows, with their kind in front: `function now`. */
  readonly names: ReadonlySet<string>;
  /** What could not be shadowed, and why. */
  readonly missed: readonly string[];
}

/** Makes the schema in one database, as a superuser. */
export async function makeShadows(
  to: pg.ClientConfig,
  { words, operators }: { words: ReadonlySet<string>; operators: ReadonlySet<string> },
): Promise<Shadowed> {
  const result = await runOnce(to, script, asCall([...words], [...operators]));
  const names = new Set(result.filter(({ error }) => error === null).map(({ name }) => String(name)));
  const missed = result.filter(({ error, name }) => error !== null && !names.has(String(name)));
  return { names, missed: missed.map(({ name, error }) => `${String(name)}: ${String(error)}`) };
}

/** The names whose shadows have been used in that database since they were made. */
export async function hitsIn(to: pg.ClientConfig): Promise<string[]> {
  const rows: readonly Row[] = await runOnce(
    to,
    'SET search_path = pg_catalog',
    // In a CASE, so that the function is not called for what is no sequence.
    `SELECT obj_description(oid, 'pg_class') AS name FROM pg_class
      WHERE CASE WHEN relkind = 'S' AND relnamespace = '${shadowSchema}'::regnamespace
                 THEN pg_sequence_last_value(oid) IS NOT NULL ELSE false END`,
  );
  return rows.map(({ name }) => String(name)).sort();
}

function asCall(words: string[], operators: string[]): string {
  const list = (items: string[]) =>
    `ARRAY[${items.map((item) => `'${item.replaceAll("'", "''")}'`).join(',')}]::text[]`;
  return `SELECT * FROM pg_temp.make_shadows(${list(words)}, ${list(operators)})`;
}

const script = `
SET search_path = pg_catalog;
CREATE SCHEMA ${shadowSchema};
GRANT USAGE ON SCHEMA ${shadowSchema} TO PUBLIC;

-- The sequence of a name, made at first.
CREATE FUNCTION pg_temp.sequence_of(name text) RETURNS text LANGUAGE plpgsql AS $make$
DECLARE sequence text := '${shadowSchema}.hits_' || md5(name);
BEGIN
  EXECUTE format('CREATE SEQUENCE IF NOT EXISTS %s', sequence);
  EXECUTE format('GRANT ALL ON SEQUENCE %s TO PUBLIC', sequence);
  EXECUTE format('COMMENT ON SEQUENCE %s IS %L', sequence, name);
  RETURN sequence;
END $make$;

-- The body of everything that shadows a name.
CREATE FUNCTION pg_temp.body_of(name text) RETURNS text LANGUAGE sql AS $make$
  SELECT format('LANGUAGE plpgsql AS $body$ BEGIN
      PERFORM pg_catalog.nextval(%L::pg_catalog.regclass);
      RAISE EXCEPTION USING MESSAGE = %L;
    END $body$', pg_temp.sequence_of(name), 'the shadow of ' || name || ' ran');
$make$;

-- As pg_get_function_arguments has it, without the names of those that go in: one that comes out may have the same.
CREATE FUNCTION pg_temp.unnamed_arguments_of(of oid) RETURNS text LANGUAGE sql AS $make$
  SELECT string_agg(
           CASE a.mode WHEN 'v' THEN 'VARIADIC ' WHEN 'o' THEN format('OUT %I ', a.name) WHEN 't' THEN format('OUT %I ', a.name) ELSE '' END
             || format_type(a.type, NULL), ', ' ORDER BY a.number)
    FROM pg_proc p, unnest(p.proallargtypes, p.proargmodes, p.proargnames) WITH ORDINALITY AS a (type, mode, name, number)
   WHERE p.oid = of;
$make$;

-- Types that only C functions may have as arguments become such as fit as well.
CREATE FUNCTION pg_temp.arguments_of(arguments text) RETURNS text LANGUAGE sql AS $make$
  SELECT replace(replace(arguments, 'VARIADIC "any"', 'VARIADIC anyarray'), '"any"', 'anyelement');
$make$;

CREATE FUNCTION pg_temp.make_shadows(words text[], operators text[]) RETURNS TABLE (name text, error text)
LANGUAGE plpgsql AS $make$
DECLARE
  found record;
  number int := 0;
BEGIN
  FOR found IN
    SELECT 'function ' || p.proname AS name, p.oid, p.proname, p.prokind, pg_temp.arguments_of(
             CASE WHEN p.proargmodes && ARRAY['o', 't']::"char"[] THEN pg_temp.unnamed_arguments_of(p.oid) ELSE pg_get_function_arguments(p.oid) END) AS arguments,
           pg_temp.arguments_of(pg_get_function_identity_arguments(p.oid)) AS identity, pg_get_function_result(p.oid) AS result
      FROM pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname::text = ANY (words)
       -- Written as a column (l.mode), and impossible to make without functions of the server's own.
       AND NOT EXISTS (SELECT FROM pg_aggregate g WHERE g.aggfnoid = p.oid AND g.aggkind <> 'n')
       -- Nobody can call those from SQL.
       AND NOT p.proargtypes::oid[] && ARRAY['internal'::regtype::oid, 'cstring'::regtype::oid]
       AND p.prorettype <> ALL (ARRAY['internal'::regtype, 'cstring'::regtype, 'trigger'::regtype, 'event_trigger'::regtype,
                                      'language_handler'::regtype, 'fdw_handler'::regtype, 'index_am_handler'::regtype,
                                      'table_am_handler'::regtype, 'tsm_handler'::regtype])
  LOOP
    number := number + 1;
    name := found.name; error := NULL;
    BEGIN
      IF found.prokind IN ('f', 'p') THEN
        EXECUTE format('CREATE FUNCTION ${shadowSchema}.%I(%s) RETURNS %s %s', found.proname, found.arguments, coalesce(found.result, 'void'), pg_temp.body_of(name));
      ELSIF found.prokind = 'a' THEN
        EXECUTE format('CREATE FUNCTION ${shadowSchema}.%I(%s) RETURNS bigint %s', 'step_' || number, concat_ws(', ', 'bigint', nullif(found.identity, '')), pg_temp.body_of(name));
        EXECUTE format('CREATE AGGREGATE ${shadowSchema}.%I(%s) (SFUNC = ${shadowSchema}.%I, STYPE = bigint)', found.proname, coalesce(nullif(found.identity, ''), '*'), 'step_' || number);
      ELSE
        error := 'a window function';
      END IF;
    EXCEPTION WHEN OTHERS THEN error := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;

  FOR found IN
    SELECT 'operator ' || o.oprname AS name, o.oprname, nullif(o.oprleft, 0)::regtype AS lefttype, nullif(o.oprright, 0)::regtype AS righttype, o.oprresult::regtype AS result
      FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprname::text = ANY (operators) AND o.oprcode <> 0
  LOOP
    number := number + 1;
    name := found.name; error := NULL;
    BEGIN
      EXECUTE format('CREATE FUNCTION ${shadowSchema}.%I(%s) RETURNS %s %s', 'operator_' || number, concat_ws(', ', found.lefttype, found.righttype), found.result, pg_temp.body_of(name));
      EXECUTE format('CREATE OPERATOR ${shadowSchema}.%s (%s, FUNCTION = ${shadowSchema}.%I)', found.oprname,
        concat_ws(', ', 'LEFTARG = ' || found.lefttype, 'RIGHTARG = ' || found.righttype), 'operator_' || number);
    EXCEPTION WHEN OTHERS THEN error := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;

  FOR found IN
    SELECT 'relation ' || c.relname AS name, c.relname FROM pg_class c
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname::text = ANY (words)
  LOOP
    number := number + 1;
    name := found.name; error := NULL;
    BEGIN
      EXECUTE format('CREATE FUNCTION ${shadowSchema}.%I() RETURNS boolean %s', 'relation_' || number, pg_temp.body_of(name));
      EXECUTE format('CREATE VIEW ${shadowSchema}.%I AS SELECT r.* FROM (SELECT ${shadowSchema}.%I() AS hit OFFSET 0) h JOIN pg_catalog.%I r ON h.hit',
        found.relname, 'relation_' || number, found.relname);
      EXECUTE format('GRANT SELECT ON ${shadowSchema}.%I TO PUBLIC', found.relname);
    EXCEPTION WHEN OTHERS THEN error := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;

  FOR found IN
    SELECT 'type ' || t.typname AS name, t.typname FROM pg_type t
     WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype IN ('b', 'd', 'e', 'r') AND t.typname::text = ANY (words)
  LOOP
    number := number + 1;
    name := found.name; error := NULL;
    BEGIN
      EXECUTE format('CREATE FUNCTION ${shadowSchema}.%I() RETURNS boolean %s', 'type_' || number, pg_temp.body_of(name));
      EXECUTE format('CREATE DOMAIN ${shadowSchema}.%I AS pg_catalog.%I CHECK (${shadowSchema}.%I())', found.typname, found.typname, 'type_' || number);
    EXCEPTION WHEN OTHERS THEN error := SQLERRM;
    END;
    RETURN NEXT;
  END LOOP;
END $make$;
`;
