/** What a lease has left on the server, as the customer's superuser sees it. */
import type { Lease } from './provider-under-test.ts';
import type { Upstream } from './upstream.ts';

/** A role as PostgreSQL knows it: names of roles that are gone can't be asked for. */
export interface RoleIdentity {
  readonly oid: number;
  readonly name: string;
}

export interface LeaseRoles extends RoleIdentity {
  /** The group roles that it is a member of. */
  readonly groups: readonly RoleIdentity[];
}

/** The roles of a live lease. Throws when there is none. */
export async function rolesOf(upstream: Upstream, { role }: Lease): Promise<LeaseRoles> {
  const [found] = await upstream.asSuperuser(
    `SELECT r.oid::int AS oid, r.rolname::text AS name,
            coalesce(json_agg(json_build_object('oid', g.oid::int, 'name', g.rolname)) FILTER (WHERE g.oid IS NOT NULL), '[]') AS groups
       FROM pg_roles r LEFT JOIN pg_auth_members m ON m.member = r.oid LEFT JOIN pg_roles g ON g.oid = m.roleid
      WHERE r.rolname = $1 GROUP BY r.oid, r.rolname`,
    [role],
  );
  if (found === undefined) throw new Error(`there is no role ${role}`);
  return found as unknown as LeaseRoles;
}

/** Whether the role has no session, also none that acts as something else meanwhile, and can't log in. */
export async function hasNoAccess(upstream: Upstream, { oid }: RoleIdentity): Promise<boolean> {
  const [row] = await upstream.asSuperuser(
    `SELECT NOT EXISTS (SELECT FROM pg_stat_get_activity(NULL) WHERE usesysid = $1)
        AND NOT EXISTS (SELECT FROM pg_authid WHERE oid = $1 AND rolcanlogin) AS ended`,
    [oid],
  );
  return row?.['ended'] === true;
}

/**
 * What leases that have been cleaned up must not have left: a sentence for each thing that is there. Default privileges of a group, which
 * can't be given to another role, may be there until that goes; but then it must not be the group of a lease that was made later, of which
 * `later` is one.
 */
export async function leftovers(
  upstream: Upstream,
  leases: readonly LeaseRoles[],
  later: LeaseRoles | undefined,
): Promise<string[]> {
  const groups = new Map(leases.flatMap((lease) => lease.groups).map((group) => [group.oid, group]));
  const rows = await upstream.asSuperuser(everythingOf, [
    leases.map(({ oid }) => oid),
    [...groups.keys()],
    [...leases, ...groups.values()].flatMap(({ name, oid }) => [name, `unknown (OID=${String(oid)})`]),
    (later?.groups ?? []).map(({ oid }) => oid),
  ]);
  return rows.map(({ what }) => String(what));
}

/**
 * `$1` OIDs of login roles, `$2` of group roles, `$3` names under which the view of prepared transactions may show them, `$4` OIDs of
 * the groups that leases get now. The server's list of dependencies on roles covers all databases.
 */
const everythingOf = `
  SELECT 'role ' || rolname AS what FROM pg_authid WHERE oid = ANY ($1)
  UNION ALL
  SELECT 'a session of ' || coalesce(r.rolname, 'a role that is gone') || ' in state ' || coalesce(a.state, '?')
    FROM pg_stat_get_activity(NULL) a LEFT JOIN pg_authid r ON r.oid = a.usesysid WHERE a.usesysid = ANY ($1)
  UNION ALL
  SELECT 'prepared transaction of ' || owner FROM pg_prepared_xacts WHERE owner = ANY ($3)
  UNION ALL
  SELECT format('%s of a login role in database %s: %s %s', count(*),
                coalesce((SELECT datname::text FROM pg_database WHERE oid = s.dbid), 'shared'), s.classid::regclass, s.deptype)
    FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY ($1)
   GROUP BY s.dbid, s.classid, s.deptype
  UNION ALL
  SELECT format('%s of a group role in database %s: %s', count(*),
                coalesce((SELECT datname::text FROM pg_database WHERE oid = s.dbid), 'shared'), s.classid::regclass)
    FROM pg_shdepend s
   WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = ANY ($2) AND s.deptype = 'o'
     AND (s.classid <> 'pg_default_acl'::regclass OR s.refobjid = ANY ($4))
   GROUP BY s.dbid, s.classid
  UNION ALL
  SELECT 'large object of a role that is gone' FROM pg_largeobject_metadata WHERE lomowner = ANY ($1)
  UNION ALL
  SELECT 'relation ' || relname || ' of a role that is gone' FROM pg_class WHERE relowner = ANY ($1)
  UNION ALL
  SELECT 'trigger ' || tgname || ' on ' || tgrelid::regclass FROM pg_trigger
   WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'shop'::regnamespace)`;
