/**
 * What a group role lacks of its scope, as SQL. Only what is missing is granted, because every GRANT writes the catalogs even when
 * it changes nothing; new tables are found the same way. Each object tells apart what the privileged role may pass on (`missing`)
 * and what it may not (`lacking`): a GRANT without grant option is only a warning to PostgreSQL (01007), and grants nothing.
 */
import type { PostgresScope } from '@mayfly/domain';
import { groupRolePattern, loginRolePattern } from './role-names.ts';
import { textArray } from './sql-text.ts';

/** Of what is looked at: each schema, the database, each table (views and foreign tables too), each sequence. */
export type ObjectKind = 'schema' | 'database' | 'table' | 'sequence';

/** One object of a scope that the group may not use in full. */
export interface LackingObject {
  readonly kind: ObjectKind;
  readonly oid: number;
  /** As it stands in a GRANT: `TABLE shop.orders`. */
  readonly object: string;
  /** Privileges that the privileged role may pass on; null for none. */
  readonly missing: readonly string[] | null;
  /** Privileges that it may not pass on; null for none. */
  readonly lacking: readonly string[] | null;
}

/** A scope without its schemas, or without one of the tables that it names, is no scope: its schemas, database and named tables. */
export function requiredKinds({ tables }: PostgresScope): readonly ObjectKind[] {
  return tables === undefined ? ['schema', 'database'] : ['schema', 'database', 'table'];
}

/**
 * A SELECT of one row: the objects that lack something, as a JSON array of `LackingObject` in the order in which they are granted
 * (always the same, so that two that grant at once don't wait for each other in a circle, and with what all want last, so that it is
 * held briefly); the number of schemas; of tables; of
 * those tables of which the group has any privilege of the scope. `group` is an SQL expression of type oid.
 */
export function selectLacking(group: string, scope: PostgresScope): string {
  const { privileges, schemas, tables } = scope;
  const wantsSequences = privileges.some((privilege) => privilege === 'INSERT' || privilege === 'UPDATE');
  const belongs =
    tables === undefined
      ? ''
      : `AND EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN relations r ON r.oid = d.refobjid
           WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
             AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'a')`;
  const state = (check: string, oid: string) =>
    `CASE WHEN pg_catalog.${check}(${group}, ${oid}, p) IS NOT FALSE THEN 'has'
          WHEN pg_catalog.${check}(${oid}, p || ' WITH GRANT OPTION') THEN 'missing' ELSE 'lacking' END`;
  return `WITH schemas AS (
      SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY (${textArray(schemas)})
    ), relations AS (
      ${selectRelations(scope)}
    ), sequences AS (
      SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN schemas n ON n.oid = c.relnamespace
       WHERE ${wantsSequences} AND c.relkind = 'S' AND ${isOfNoLease} ${belongs}
    ), privileges AS (
      SELECT 3 AS step, 'schema' AS kind, oid, pg_catalog.format('SCHEMA %I', nspname) AS object, p AS privilege,
             ${state('has_schema_privilege', 'oid')} AS state
        FROM schemas, pg_catalog.unnest(ARRAY['USAGE']) AS p
      UNION ALL
      SELECT 4, 'database', oid, pg_catalog.format('DATABASE %I', datname), p, ${state('has_database_privilege', 'oid')}
        FROM pg_catalog.pg_database, pg_catalog.unnest(ARRAY['CONNECT']) AS p
       WHERE datname = pg_catalog.current_database()
      UNION ALL
      SELECT 1, 'table', oid, pg_catalog.format('TABLE %I.%I', nspname, relname), p, ${state('has_table_privilege', 'oid')}
        FROM relations, pg_catalog.unnest(${textArray(privileges)}) AS p
      UNION ALL
      SELECT 2, 'sequence', oid, pg_catalog.format('SEQUENCE %I.%I', nspname, relname), p, ${state('has_sequence_privilege', 'oid')}
        FROM sequences, pg_catalog.unnest(ARRAY['USAGE', 'SELECT']) AS p
    ), objects AS (
      SELECT step, kind, oid, object, pg_catalog.bool_or(state = 'has') AS is_usable,
             pg_catalog.array_agg(privilege) FILTER (WHERE state = 'missing') AS missing,
             pg_catalog.array_agg(privilege) FILTER (WHERE state = 'lacking') AS lacking
        FROM privileges GROUP BY step, kind, oid, object
    )
    SELECT coalesce(pg_catalog.jsonb_agg(
             pg_catalog.jsonb_build_object('kind', kind, 'oid', oid::bigint, 'object', object, 'missing', missing, 'lacking', lacking)
             ORDER BY step, oid) FILTER (WHERE missing IS NOT NULL OR lacking IS NOT NULL), '[]'),
           pg_catalog.count(*) FILTER (WHERE kind = 'schema'),
           pg_catalog.count(*) FILTER (WHERE kind = 'table'),
           pg_catalog.count(*) FILTER (WHERE kind = 'table' AND is_usable)
      FROM objects`;
}

/**
 * What leases own, or have made as their group, belongs to no scope: it is nobody else's to use, and one lease could make so much
 * of it that no mint would ever have looked at all.
 */
const isOfNoLease = `pg_catalog.pg_get_userbyid(c.relowner)::text !~ '${loginRolePattern}|${groupRolePattern}'`;

/** A SELECT of the tables of a scope, views and foreign tables too: `oid`, `nspname`, `relname`. */
export function selectRelations({ schemas, tables }: Pick<PostgresScope, 'schemas' | 'tables'>): string {
  const named = tables?.map(splitTable);
  const isNamed =
    named === undefined
      ? ''
      : `AND (n.nspname, c.relname) IN (SELECT s, t FROM ROWS FROM (
           pg_catalog.unnest(${textArray(named.map(([schema]) => schema))}),
           pg_catalog.unnest(${textArray(named.map(([, table]) => table))})) AS named (s, t))`;
  return `SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = ANY (${textArray(schemas)}) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND ${isOfNoLease} ${isNamed}`;
}

/** The first dot separates. */
function splitTable(table: string): readonly [schema: string, table: string] {
  const dot = table.indexOf('.');
  return [table.slice(0, dot), table.slice(dot + 1)];
}
