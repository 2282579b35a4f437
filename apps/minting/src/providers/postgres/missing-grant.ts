/**
 * What the privileged role lacks to end a lease. From PostgreSQL 16 on CREATEROLE alone alters and drops nothing: it takes the ADMIN
 * OPTION of the role, which whoever made it has. A database that came from an older server, or was restored by another role, has the
 * roles of leases and not these memberships; a superuser has to give one back.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { creatorOf } from './creator-roles.ts';

/** What a superuser runs so that an end works, and what it helps. */
export interface MissingGrant {
  readonly statement: string;
  /** For whoever operates Mayfly; it names roles of the upstream, so it is for no agent. */
  readonly sentence: string;
}

/** Of the privileged role and the role of a lease that it could not end. */
export interface Rights {
  readonly admin: string;
  readonly loginRole: string;
  readonly mayCreateRoles: boolean;
  readonly isLoginRoleSuperuser: boolean;
  /** Whether it has the ADMIN OPTION of the login role. Before PostgreSQL 16 nobody needs it. */
  readonly mayAdminister: boolean;
  /** The creator role that has the ADMIN OPTION of the login role, if there is one, and whether the privileged role may act as it. */
  readonly creator: string | null;
  readonly mayActAsCreator: boolean;
}

/** Undefined when nothing of this is missing: the end was refused for something else. */
export function missingGrant(rights: Rights, { superuser, version }: ServerFacts): MissingGrant | undefined {
  const [admin, loginRole] = [pg.escapeIdentifier(rights.admin), pg.escapeIdentifier(rights.loginRole)];
  if (superuser) return undefined;
  if (rights.isLoginRoleSuperuser) {
    return tell(`ALTER ROLE ${loginRole} NOSUPERUSER`, 'somebody has made the role of the lease a superuser');
  }
  if (!rights.mayCreateRoles) {
    return tell(`ALTER ROLE ${admin} CREATEROLE`, "the integration's privileged role lacks CREATEROLE");
  }
  if (version < 160_000) return undefined;
  if (rights.creator !== null) {
    if (rights.mayActAsCreator) return undefined;
    return tell(
      `GRANT ${pg.escapeIdentifier(rights.creator)} TO ${admin} WITH ADMIN OPTION`,
      "the integration's privileged role may not act as the role that made the lease's",
    );
  }
  if (rights.mayAdminister) return undefined;
  return tell(
    `GRANT ${loginRole} TO ${admin} WITH ADMIN OPTION`,
    "the integration's privileged role has no ADMIN OPTION of the lease's role",
  );
}

function tell(statement: string, why: string): MissingGrant {
  return { statement, sentence: `${why}; as a superuser of its server: ${statement}` };
}

/** Asks the server. Undefined when nothing of this is missing, or the login role is gone. Throws ProviderRejected or ProviderUnavailable. */
export async function findMissingGrant(
  database: AdminDatabase,
  loginRole: string,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<MissingGrant | undefined> {
  const has = (role: string, right: string) =>
    facts.version < 160_000 ? 'true' : `coalesce(pg_catalog.pg_has_role(${role}, '${right}'), false)`;
  const [rows = []] = await database.run(
    `SELECT current_user::text AS admin, r.rolname::text AS login_role, r.rolsuper,
            (SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user) AS may_create_roles,
            ${has('r.oid', 'USAGE WITH ADMIN OPTION')} AS may_administer, c.rolname::text AS creator,
            ${has('c.oid', 'SET')} AS may_act_as_creator
       FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_roles c ON c.rolname = ${creatorOf('r.rolname')}
      WHERE r.rolname = $1`,
    deadline,
    { values: [loginRole] },
  );
  const [row] = rows;
  if (row === undefined) return undefined;
  const creator: unknown = row['creator'];
  const rights: Rights = {
    admin: String(row['admin']),
    loginRole: String(row['login_role']),
    mayCreateRoles: row['may_create_roles'] === true,
    isLoginRoleSuperuser: row['rolsuper'] === true,
    mayAdminister: row['may_administer'] === true,
    creator: typeof creator === 'string' ? creator : null,
    mayActAsCreator: row['may_act_as_creator'] === true,
  };
  return missingGrant(rights, facts);
}
