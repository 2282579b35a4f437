/**
 * What a group role still lacks of its scope, as GRANT statements. Only what is missing is granted, because every GRANT
 * writes the catalogs even when it changes nothing; new tables are found the same way. Of all tables in a schema, those
 * that the privileged role may not grant are left out: one foreign table would otherwise stop every mint. Tables that
 * are named must be grantable.
 */
import type { PostgresScope } from '@mayfly/domain';
import type { Deadline } from '../deadline.ts';
import { ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase } from './admin-database.ts';

/** `$1` group, `$2` schemas, `$3` and `$4` schemas and names of tables (or NULL: all), `$5` privileges, `$6` sequences too. */
const missingPrivileges = `
WITH schemas AS (
  SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY ($2::text[])
), relations AS (
  SELECT c.oid, n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
     AND ($3::text[] IS NULL
          OR (n.nspname, c.relname) IN (SELECT s, t FROM unnest($3::text[], $4::text[]) AS named (s, t)))
), sequences AS (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c JOIN schemas n ON n.oid = c.relnamespace
   WHERE $6::bool AND c.relkind = 'S'
     AND ($3::text[] IS NULL
          OR EXISTS (SELECT FROM pg_depend d JOIN relations r ON r.oid = d.refobjid
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'))
)
SELECT 'schema' AS kind, nspname AS name,
       CASE WHEN NOT has_schema_privilege($1::name, oid, 'USAGE')
            THEN format('GRANT USAGE ON SCHEMA %I TO %I', nspname, $1::name) END AS statement
  FROM schemas
UNION ALL
SELECT 'database', current_database(),
       CASE WHEN NOT has_database_privilege($1::name, current_database(), 'CONNECT')
            THEN format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), $1::name) END
UNION ALL
SELECT 'table', nspname || '.' || relname,
       (SELECT 'GRANT ' || string_agg(p, ', ') || format(' ON TABLE %s TO %I', relations.name, $1::name)
          FROM unnest($5::text[]) AS p
         WHERE NOT has_table_privilege($1::name, relations.oid, p)
           AND ($3::text[] IS NOT NULL OR has_table_privilege(relations.oid, p || ' WITH GRANT OPTION')))
  FROM relations
UNION ALL
SELECT 'sequence', name,
       (SELECT 'GRANT ' || string_agg(p, ', ') || format(' ON SEQUENCE %s TO %I', sequences.name, $1::name)
          FROM unnest(ARRAY['USAGE', 'SELECT']) AS p
         WHERE NOT has_sequence_privilege($1::name, sequences.oid, p)
           AND has_sequence_privilege(sequences.oid, p || ' WITH GRANT OPTION'))
  FROM sequences`;

interface Found {
  readonly kind: 'schema' | 'database' | 'table' | 'sequence';
  readonly name: string;
  readonly statement: string | null;
}

/** Throws ProviderRejected when a schema or a named table does not exist. */
export async function missingGrants(
  database: AdminDatabase,
  group: string,
  scope: PostgresScope,
  deadline: Deadline,
): Promise<string[]> {
  if (scope.schemas.some((schema) => schema.startsWith('pg_'))) {
    // As a superuser's grant, `pg_catalog` would hold every role's verifier.
    throw new ProviderRejected("PostgreSQL's own schemas cannot be in a scope");
  }
  const tables = scope.tables?.map(splitTable);
  const sequences = scope.privileges.some((privilege) => privilege === 'INSERT' || privilege === 'UPDATE');
  const [rows = []] = await database.run(missingPrivileges, deadline, {
    values: [
      group,
      scope.schemas,
      tables?.map(([schema]) => schema) ?? null,
      tables?.map(([, table]) => table) ?? null,
      scope.privileges,
      sequences,
    ],
  });
  const found = rows as unknown as readonly Found[];
  const count = (kind: Found['kind']) => found.filter((item) => item.kind === kind).length;
  if (count('schema') < scope.schemas.length) {
    throw new ProviderRejected('a schema of the scope does not exist');
  }
  if (scope.tables !== undefined && count('table') < scope.tables.length) {
    throw new ProviderRejected('a table of the scope does not exist');
  }
  return found.flatMap(({ statement }) => statement ?? []);
}

/** The first dot separates. */
function splitTable(table: string): readonly [schema: string, table: string] {
  const dot = table.indexOf('.');
  return [table.slice(0, dot), table.slice(dot + 1)];
}
