/** What leases have left in the database that they were for: their roles, what these owned or held, in whoever's name. */
import pg from 'pg';
import type { Check } from './accounting.ts';

/** Privileges of groups stay, things that they own don't: whoever comes next in a group would have them. */
const leftovers = `
  SELECT 'role ' || rolname AS what FROM pg_roles WHERE rolname ~ '^mayfly_[0-9a-f]{32}$'
  UNION ALL
  SELECT 'prepared transaction ' || gid || ' of ' || owner FROM pg_prepared_xacts
  UNION ALL
  SELECT count(*) || ' large objects of ' || pg_get_userbyid(lomowner) FROM pg_largeobject_metadata GROUP BY lomowner
  UNION ALL
  SELECT 'something in ' || d.classid::regclass || ' that belongs to ' || coalesce(r.rolname, 'a role that is gone')
    FROM pg_shdepend d LEFT JOIN pg_roles r ON r.oid = d.refobjid
   WHERE d.refclassid = 'pg_authid'::regclass AND d.classid <> 'pg_largeobject'::regclass
     AND (r.oid IS NULL OR d.deptype = 'o' AND r.rolname ~ '^mayfly_(scope|narrow)_')`;

/** `databaseUrl` is the administrator's of that database. */
export async function checkNothingUpstream(databaseUrl: string): Promise<Check> {
  const client = new pg.Client({ connectionString: databaseUrl, query_timeout: 20_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ what: string }>(leftovers);
    return { name: 'nothing is left upstream', problems: rows.map(({ what }) => what) };
  } finally {
    await client.end();
  }
}
