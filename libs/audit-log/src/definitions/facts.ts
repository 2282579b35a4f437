/**
 * What the catalogs of Postgres say of the schema `audit`, as a flat list of facts, and of everything else in the database that could
 * change what a query of the log answers. Read with a search path of `pg_catalog` alone, so that a name without a schema is
 * `pg_catalog`'s own. Names can be changed under what they stand for, so the numbers (OIDs) of the functions, operators, types and
 * collations that an expression uses are facts too: those of `pg_catalog` are the same in every cluster of a major version.
 */
import type { LogSession } from '../log-session.ts';

export interface Fact {
  /** `view audit.events`, `column audit.event_log.type`. */
  readonly object: string;
  readonly property: string;
  readonly value: string;
}

/** Roles whose names differ between installations are told as these. */
export const ownerPlaceholder = '{owner}';

const owner = (oid: string) =>
  `CASE WHEN pg_get_userbyid(${oid}) = $1::text THEN '${ownerPlaceholder}' ELSE pg_get_userbyid(${oid})::text END`;

const grantee = `CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE ${owner('acl.grantee')} END`;

/** All that anybody but the owner may do. Who else may read is for the operator to say; whether the auditor may is a fact. */
const rights = (list: string, object: string, from: string) => `
  SELECT ${object}, 'right of ' || (${grantee}) || ' to ' || acl.privilege_type, 'yes'
  FROM ${from} CROSS JOIN LATERAL aclexplode(${list}) AS acl
  WHERE n.nspname = 'audit' AND (${grantee}) <> '${ownerPlaceholder}'
    AND NOT (acl.privilege_type IN ('SELECT', 'USAGE') AND (${grantee}) <> 'mayfly_auditor')`;

/** OIDs of what an expression uses, from its parsed form. */
const used = (tree: string) => `
  (SELECT string_agg(DISTINCT found.m[1] || ' ' || found.m[2], ', ' ORDER BY found.m[1] || ' ' || found.m[2])
   FROM regexp_matches(${tree}, ':(funcid|opno|opfuncid|aggfnoid|winfnoid|resulttype|inputcollid) (\\d+)', 'g') AS found(m))`;

const kinds = `CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' WHEN 'm' THEN 'materialized view'
  WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'composite type' ELSE 'table' END`;

/** A name from `pg_class` for messages. */
const relation = `'audit.' || c.relname`;

const inSchema = `JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = 'audit'`;

const schema = `
  SELECT 'schema audit' AS object, 'owner' AS property, ${owner('n.nspowner')} AS value
  FROM pg_namespace AS n WHERE n.nspname = 'audit'
  UNION ALL ${rights(`coalesce(n.nspacl, acldefault('n', n.nspowner))`, `'schema audit'`, 'pg_namespace AS n')}`;

const relations = `
  SELECT (${kinds}) || ' ' || ${relation} AS object, p.property, p.value
  FROM pg_class AS c ${inSchema}
  CROSS JOIN LATERAL (VALUES
    ('kind', c.relkind::text),
    ('owner', ${owner('c.relowner')}),
    ('persistence', c.relpersistence::text),
    ('row security', c.relrowsecurity::text || ' ' || c.relforcerowsecurity::text),
    ('stored by', (SELECT am.amname || ' ' || am.amhandler::oid FROM pg_am AS am WHERE am.oid = c.relam)),
    -- Those of tables are about their upkeep.
    ('options', CASE WHEN c.relkind IN ('v', 'm') THEN array_to_string(c.reloptions, ', ') END),
    ('partition of', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                      FROM pg_inherits AS i WHERE i.inhrelid = c.oid)),
    ('bounds', pg_get_expr(c.relpartbound, c.oid)),
    ('partitioned by', pg_get_partkeydef(c.oid)),
    ('children elsewhere', (SELECT string_agg(k.oid::regclass::text, ', ' ORDER BY k.relname) FROM pg_inherits AS i
       JOIN pg_class AS k ON k.oid = i.inhrelid WHERE i.inhparent = c.oid AND k.relnamespace <> c.relnamespace)),
    ('definition', CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END),
    ('uses', CASE WHEN c.relkind IN ('v', 'm') THEN
       (SELECT ${used('r.ev_action::text')} FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.rulename = '_RETURN') END),
    -- Conditions that PostgreSQL applies and pg_get_viewdef does not print. The stored tree of a view never has any.
    ('unprinted conditions', (SELECT string_agg(found.m[1], ', ') FROM pg_rewrite AS r
       CROSS JOIN LATERAL regexp_matches(r.ev_action::text, ':securityQuals ([^<].{0,80})', 'g') AS found(m) WHERE r.ev_class = c.oid))
  ) AS p(property, value)
  WHERE c.relkind NOT IN ('i', 'I')
  UNION ALL ${rights(
    `coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))`,
    `(${kinds}) || ' ' || ${relation}`,
    `pg_class AS c ${inSchema}`,
  )} AND c.relkind NOT IN ('i', 'I')`;

const columns = `
  SELECT 'column ' || ${relation} || '.' || a.attname AS object, p.property, p.value
  FROM pg_class AS c ${inSchema}
  JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
  CROSS JOIN LATERAL (VALUES
    ('type', format_type(a.atttypid, a.atttypmod) || ' ' || a.atttypid),
    ('not null', a.attnotnull::text),
    ('computed', nullif(a.attgenerated::text || a.attidentity::text, '')),
    ('collation', nullif(a.attcollation, 0)::text),
    ('expression', pg_get_expr(d.adbin, d.adrelid)),
    ('uses', ${used('d.adbin::text')}),
    ('rights', (SELECT string_agg((${grantee}) || ' ' || acl.privilege_type, ', ' ORDER BY acl.privilege_type, (${grantee}))
       FROM aclexplode(a.attacl) AS acl WHERE acl.privilege_type <> 'SELECT'))
  ) AS p(property, value)
  WHERE c.relkind NOT IN ('i', 'I', 'S')`;

const constraints = `
  SELECT 'constraint ' || con.conname || ' of ' || ${relation} AS object, p.property, p.value
  FROM pg_class AS c ${inSchema} JOIN pg_constraint AS con ON con.conrelid = c.oid
  CROSS JOIN LATERAL (VALUES
    ('definition', pg_get_constraintdef(con.oid)),
    ('validated', con.convalidated::text),
    ('uses', ${used('con.conbin::text')})
  ) AS p(property, value)`;

/** An index of a partition goes by the name of the one that it belongs to. */
const indexes = `
  SELECT 'index ' || coalesce((SELECT i.inhparent::regclass::text FROM pg_inherits AS i WHERE i.inhrelid = x.indexrelid),
                              x.indexrelid::regclass::text) || ' on ' || ${relation} AS object, p.property, p.value
  FROM pg_class AS c ${inSchema} JOIN pg_index AS x ON x.indrelid = c.oid JOIN pg_class AS k ON k.oid = x.indexrelid
  CROSS JOIN LATERAL (VALUES
    ('method', (SELECT am.amname || ' ' || am.amhandler::oid FROM pg_am AS am WHERE am.oid = k.relam)),
    ('keys', (SELECT string_agg(pg_get_indexdef(x.indexrelid, key.n::int, true), ', ' ORDER BY key.n)
              FROM generate_series(1, x.indnatts) AS key(n))),
    ('operator classes', x.indclass::text),
    ('collations', x.indcollation::text),
    ('order', x.indoption::text),
    ('where', pg_get_expr(x.indpred, x.indrelid)),
    ('uses', ${used(`coalesce(x.indexprs::text, '') || coalesce(x.indpred::text, '')`)}),
    ('unique', x.indisunique::text || ' ' || x.indisprimary::text || ' ' || x.indimmediate::text),
    ('usable', x.indisvalid::text || ' ' || x.indisready::text || ' ' || x.indislive::text),
    ('owner', ${owner('k.relowner')})
  ) AS p(property, value)`;

const triggers = `
  SELECT 'trigger ' || t.tgname || ' on ' || ${relation} AS object, p.property, p.value
  FROM pg_class AS c ${inSchema} JOIN pg_trigger AS t ON t.tgrelid = c.oid
  CROSS JOIN LATERAL (VALUES
    ('definition', pg_get_triggerdef(t.oid)),
    ('fires', t.tgenabled::text),
    ('uses', ${used('t.tgqual::text')})
  ) AS p(property, value)`;

const functions = `
  SELECT 'function ' || f.oid::regprocedure::text AS object, p.property, p.value
  FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace AND n.nspname = 'audit'
  CROSS JOIN LATERAL (VALUES
    ('definition', CASE WHEN f.prokind IN ('f', 'p') THEN pg_get_functiondef(f.oid) ELSE f.prokind::text END),
    ('owner', ${owner('f.proowner')}),
    ('language', (SELECT l.lanname || ' ' || coalesce(h.prosrc || ' ' || coalesce(h.probin, ''), '')
                  FROM pg_language AS l LEFT JOIN pg_proc AS h ON h.oid = l.lanplcallfoid WHERE l.oid = f.prolang))
  ) AS p(property, value)
  UNION ALL ${rights(
    `coalesce(f.proacl, acldefault('f', f.proowner))`,
    `'function ' || f.oid::regprocedure::text`,
    'pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace',
  )}`;

/** What the migrations make none of: rules, policies, and whatever a search path would find before its namesake elsewhere. */
const others = `
  SELECT 'rule ' || r.rulename || ' on ' || ${relation} AS object, 'definition' AS property, pg_get_ruledef(r.oid) AS value
  FROM pg_class AS c ${inSchema} JOIN pg_rewrite AS r ON r.ev_class = c.oid
  WHERE r.rulename <> '_RETURN' OR r.ev_type <> '1' OR r.ev_enabled <> 'O'
  UNION ALL
  SELECT 'policy ' || p.polname || ' on ' || ${relation}, 'definition', coalesce(pg_get_expr(p.polqual, p.polrelid), '')
  FROM pg_class AS c ${inSchema} JOIN pg_policy AS p ON p.polrelid = c.oid
  UNION ALL
  SELECT o.kind || ' audit.' || o.name, 'owner', ${owner('o.owner')}
  FROM (
    SELECT 'type' AS kind, t.typname AS name, t.typowner AS owner, t.typnamespace AS namespace FROM pg_type AS t
    WHERE t.typrelid = 0 AND NOT (t.typelem <> 0 AND t.typname LIKE '\\_%')
    UNION ALL SELECT 'operator', o.oprname, o.oprowner, o.oprnamespace FROM pg_operator AS o
    UNION ALL SELECT 'operator class', o.opcname, o.opcowner, o.opcnamespace FROM pg_opclass AS o
    UNION ALL SELECT 'operator family', o.opfname, o.opfowner, o.opfnamespace FROM pg_opfamily AS o
    UNION ALL SELECT 'collation', o.collname, o.collowner, o.collnamespace FROM pg_collation AS o
    UNION ALL SELECT 'conversion', o.conname, o.conowner, o.connamespace FROM pg_conversion AS o
    UNION ALL SELECT 'text search configuration', o.cfgname, o.cfgowner, o.cfgnamespace FROM pg_ts_config AS o
    UNION ALL SELECT 'text search dictionary', o.dictname, o.dictowner, o.dictnamespace FROM pg_ts_dict AS o
  ) AS o JOIN pg_namespace AS n ON n.oid = o.namespace AND n.nspname = 'audit'`;

/** The first OID that is not handed out by `initdb`. */
const firstOfUsers = 16_384;
/**
 * Beyond the schema: what fires at any statement (but what pgaudit brings, in C and not at log-ins, which changes no answer), and what
 * takes part in any expression. To say that something belongs to an extension takes one statement, so that alone excuses nothing.
 */
const everywhere = `
  SELECT 'event trigger ' || t.evtname AS object, 'definition' AS property,
         t.evtevent || ' ' || t.evtfoid::regprocedure::text || ' ' || t.evtenabled::text AS value
  FROM pg_event_trigger AS t
  WHERE t.evtevent = 'login' OR NOT EXISTS (
    SELECT FROM pg_depend AS x JOIN pg_extension AS e ON e.oid = x.refobjid AND e.extname = 'pgaudit', pg_proc AS f
    WHERE x.classid = 'pg_event_trigger'::regclass AND x.objid = t.oid AND x.deptype = 'e'
      AND x.refclassid = 'pg_extension'::regclass AND f.oid = t.evtfoid AND f.prolang = 13 AND f.probin = '$libdir/pgaudit')
  UNION ALL
  SELECT 'cast from ' || format_type(k.castsource, NULL) || ' to ' || format_type(k.casttarget, NULL), 'definition',
         k.castcontext::text || ' ' || k.castfunc::regprocedure::text
  FROM pg_cast AS k WHERE k.oid >= ${firstOfUsers} AND k.castsource < ${firstOfUsers} AND k.casttarget < ${firstOfUsers}
  UNION ALL
  SELECT 'function ' || f.oid::regprocedure::text || ' of pg_catalog', 'owner', pg_get_userbyid(f.proowner)::text
  FROM pg_proc AS f WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.oid >= ${firstOfUsers}
  UNION ALL
  SELECT 'operator ' || o.oid::regoperator::text || ' of pg_catalog', 'owner', pg_get_userbyid(o.oprowner)::text
  FROM pg_operator AS o WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND o.oid >= ${firstOfUsers}
  UNION ALL
  SELECT 'type ' || t.typname || ' of pg_catalog', 'owner', pg_get_userbyid(t.typowner)::text
  FROM pg_type AS t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.oid >= ${firstOfUsers}
  UNION ALL
  SELECT 'operator class ' || o.opcname || ' of pg_catalog', 'owner', pg_get_userbyid(o.opcowner)::text
  FROM pg_opclass AS o WHERE o.opcnamespace = 'pg_catalog'::regnamespace AND o.oid >= ${firstOfUsers}`;

/** What comparisons of the types that the log has do: an operator can be led to another function by one write to a catalog. */
const comparisons = `
  SELECT 'operator ' || o.oprname || ' of ' || format_type(o.oprleft, NULL) || ' and ' || format_type(o.oprright, NULL) AS object,
         'does' AS property, o.oid || ' ' || o.oprcode::oid || ' ' || f.prolang || ' ' || f.prosrc AS value
  FROM pg_operator AS o JOIN pg_proc AS f ON f.oid = o.oprcode
  WHERE o.oid < 10000 AND o.oprname IN ('=', '<>', '<', '<=', '>', '>=', '~~', '!~~', '->', '->>')
    AND o.oprleft = o.oprright AND o.oprleft IN ('uuid'::regtype, 'text'::regtype, 'timestamptz'::regtype, 'int8'::regtype, 'jsonb'::regtype)
    OR o.oid < 10000 AND o.oprleft = 'jsonb'::regtype AND o.oprname IN ('->', '->>')`;

/**
 * Who can do more than the rights of tables say: powers of the owner and of the auditor, and whoever may act as the owner or write
 * everywhere. Superusers and roles that may make roles are not told as members, since they can have any right at any time.
 */
const roles = `
  SELECT 'role ' || CASE WHEN r.rolname = $1::text THEN '${ownerPlaceholder}' ELSE r.rolname::text END AS object, p.property, p.value
  FROM pg_roles AS r
  CROSS JOIN LATERAL (VALUES
    ('superuser', CASE WHEN r.rolsuper THEN 'yes' END),
    ('makes roles', CASE WHEN r.rolcreaterole THEN 'yes' END),
    ('passes by row security', CASE WHEN r.rolbypassrls THEN 'yes' END),
    ('replicates', CASE WHEN r.rolreplication THEN 'yes' END)
  ) AS p(property, value)
  WHERE r.rolname IN ($1::text, 'mayfly_auditor')
  UNION ALL
  SELECT 'member ' || m.rolname || ' of ' || CASE WHEN g.rolname = $1::text THEN '${ownerPlaceholder}' ELSE g.rolname::text END, 'member', 'yes'
  FROM pg_roles AS g JOIN (
    WITH RECURSIVE within(granted, member) AS (
      SELECT a.roleid, a.member FROM pg_auth_members AS a
      UNION SELECT w.granted, a.member FROM within AS w JOIN pg_auth_members AS a ON a.roleid = w.member
    ) SELECT granted, member FROM within
  ) AS w ON w.granted = g.oid JOIN pg_roles AS m ON m.oid = w.member
  WHERE g.rolname IN ($1::text, 'pg_write_all_data') AND NOT m.rolsuper AND NOT m.rolcreaterole`;

/** Settings that are set for everybody here, for auditors, or for the service that writes. */
const settings = `
  SELECT 'settings of ' || CASE WHEN s.setrole = 0 THEN 'every role' ELSE ${owner('s.setrole')} END
           || CASE WHEN s.setdatabase = 0 THEN ' in every database' ELSE ' in this database' END AS object,
         split_part(entry.text, '=', 1) AS property, substr(entry.text, strpos(entry.text, '=') + 1) AS value
  FROM pg_db_role_setting AS s CROSS JOIN LATERAL unnest(s.setconfig) AS entry(text)
  WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
    AND (s.setrole = 0 OR (${owner('s.setrole')}) IN ('${ownerPlaceholder}', 'mayfly_auditor'))`;

const migrations = `
  SELECT 'migration ' || m.name AS object, 'ran' AS property, 'yes' AS value FROM audit.migrations AS m`;

const statements = {
  migrations,
  schema,
  relations,
  columns,
  constraints,
  indexes,
  triggers,
  functions,
  others,
  everywhere,
  comparisons,
  roles,
  settings,
} as const;

/** Settings that make a query slower or faster, or are logged, and never change what it answers. */
const harmless =
  /^(?:log_|work_mem|maintenance_work_mem|hash_mem|temp_buffers|temp_file_limit|statement_timeout|lock_timeout|idle_|transaction_timeout|random_page_cost|seq_page_cost|effective_|cpu_|parallel_|min_parallel_|max_parallel_|jit|tcp_|application_name|client_min_messages|client_connection_check|auto_explain\.|pgaudit\.|pg_stat_statements\.|password_encryption|synchronous_commit)/i;

/** All facts, without those that can't be null. @param ownerRole who is to own the schema: the role of the audit service. */
export async function readFacts(session: LogSession, ownerRole: string): Promise<Fact[]> {
  const facts: Fact[] = [];
  for (const text of Object.values(statements)) {
    const rows = await session.rows<keyof Fact>(text, text.includes('$1') ? [ownerRole] : []);
    for (const { object, property, value } of rows) {
      if (object === null || property === null || value === null) continue;
      if (object.startsWith('settings of ') && harmless.test(property)) continue;
      facts.push({ object, property, value });
    }
  }
  return facts;
}

/** The major version of the server. */
export async function readMajor(session: LogSession): Promise<number> {
  const [row] = await session.rows<'number'>(`SELECT current_setting('server_version_num') AS number`);
  return Math.floor(Number(row?.number) / 10_000);
}
