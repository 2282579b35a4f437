/**
 * How a group role goes, in two steps and without a lock. First it is renamed out of the way: a mint that comes meanwhile fails with
 * `undefined_object` and makes the group anew. A mint that had found it by its name just before still joins it, and works. Then, when
 * no such mint can be running any longer and nobody is a member (or is none any more), it is dropped, with what it owns: before
 * PostgreSQL 16 its members can act as it and leave things behind.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { lockWaitMs } from './optimistic.ts';
import {
  loginRolePattern,
  narrowGroupPrefix,
  retiredGroupAge,
  retiredGroupName,
  retiredGroupPrefix,
  type Place,
} from './role-names.ts';
import { doBlock } from './sql-text.ts';
import { dependentObjects, sqlStateOf } from './upstream-error.ts';

/** Groups that one sweep retires, and drops, at most. */
const mostAtOnce = 100;

/** Opens another database of the same server, as the same role. */
export type OpenOther = (database: string) => AdminDatabase;

/** The privileged role itself is a member of what it made (PostgreSQL 16: `ADMIN OPTION`), so only login roles count. `role` is an oid. */
const hasLoginMembers = (role: string) => `EXISTS (
  SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles l ON l.oid = m.member
   WHERE m.roleid = ${role} AND l.rolname ~ '${loginRolePattern}')`;

/** From PostgreSQL 16 on only who has its ADMIN OPTION renames or drops a role; others' are left alone. */
function isOurs({ superuser, version }: ServerFacts): string {
  return superuser || version < 160_000 ? 'true' : "pg_catalog.pg_has_role(g.oid, 'USAGE WITH ADMIN OPTION')";
}

/** Names of the narrowed groups of a place that no login role is a member of. */
export async function listEmptyGroups(
  database: AdminDatabase,
  place: Place,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<string[]> {
  const [rows = []] = await database.run(
    `SELECT g.rolname FROM pg_catalog.pg_roles g
      WHERE pg_catalog.starts_with(g.rolname::text, $1) AND NOT ${hasLoginMembers('g.oid')} AND ${isOurs(facts)}
      LIMIT ${mostAtOnce}`,
    deadline,
    { values: [narrowGroupPrefix(place)] },
  );
  return rows.map(({ rolname }) => String(rolname));
}

/**
 * Renames a group out of the way, whoever is a member of it: the first of the two steps. Answers with the new name. Throws
 * ProviderRejected (`undefined_object` when it is not there) or ProviderUnavailable, at once when something holds the role's row.
 */
export async function renameGroupAway(
  database: AdminDatabase,
  place: Place,
  group: string,
  deadline: Deadline,
): Promise<string> {
  const text = `${doBlock(`DECLARE retired text := ${retiredGroupName(place)}; BEGIN
      SET LOCAL lock_timeout = ${lockWaitMs};
      EXECUTE pg_catalog.format('ALTER ROLE %I RENAME TO %I', ${pg.escapeLiteral(group)}, retired);
      PERFORM pg_catalog.set_config('mayfly.retired', retired, true);
    END`)};
    SELECT pg_catalog.current_setting('mayfly.retired') AS retired`;
  const rows = await database.run(text, deadline);
  return String(rows.at(-1)?.[0]?.['retired']);
}

/** Retired groups of a place. */
export interface RetiredGroups {
  /** Names of some of those that can be dropped, at random: one that can never be dropped keeps from no other. */
  readonly due: readonly string[];
  /** How many there are altogether. */
  readonly count: number;
}

/** Looks for those that were retired `keepSeconds` ago, by the server's clock, and have no member. */
export async function listRetiredGroups(
  database: AdminDatabase,
  place: Place,
  keepSeconds: number,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<RetiredGroups> {
  const prefix = retiredGroupPrefix(place);
  const [rows = []] = await database.run(
    `SELECT g.rolname, pg_catalog.count(*) OVER () AS of_all,
            CASE WHEN g.rolname ~ '^${prefix}[0-9]{10}_' THEN ${retiredGroupAge(place, 'g.rolname::text')} >= $1::bigint END
              AND NOT ${hasLoginMembers('g.oid')} AS due
       FROM pg_catalog.pg_roles g
      WHERE pg_catalog.starts_with(g.rolname::text, '${prefix}') AND ${isOurs(facts)}
      ORDER BY due DESC NULLS LAST, pg_catalog.random() LIMIT ${mostAtOnce}`,
    deadline,
    { values: [keepSeconds] },
  );
  const due = rows.filter((row) => row['due'] === true).map(({ rolname }) => String(rolname));
  return { due, count: Number(rows[0]?.['of_all'] ?? 0) };
}

/**
 * Drops a retired group, with what it owns and whatever privileges it has, in other databases of the server too; nothing when it has a
 * member by now. Throws ProviderRejected or ProviderUnavailable, at once when something of it is locked: a later sweep drops it.
 */
export async function dropRetiredGroup(
  database: AdminDatabase,
  group: string,
  {
    facts,
    openOther,
    deadline,
  }: { facts: ServerFacts; openOther: OpenOther | undefined; deadline: Deadline },
): Promise<void> {
  const name = pg.escapeIdentifier(group);
  const inherit = facts.version >= 160_000 ? ' WITH INHERIT TRUE' : '';
  const dropOwned = `SET LOCAL lock_timeout = ${lockWaitMs};
    ${facts.superuser ? '' : `GRANT ${name} TO CURRENT_USER${inherit};`}
    DROP OWNED BY ${name};`;
  const drop = doBlock(`BEGIN
    IF ${hasLoginMembers(`(SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ${pg.escapeLiteral(group)})`)} THEN RETURN; END IF;
    ${dropOwned}
    DROP ROLE ${name};
  END`);
  try {
    await database.run(drop, deadline);
  } catch (error) {
    if (sqlStateOf((error as Error).cause) !== dependentObjects || openOther === undefined) throw error;
    for (const other of await otherDatabasesOf(database, group, deadline)) {
      await openOther(other).run(doBlock(`BEGIN ${dropOwned} END`), deadline);
    }
    await database.run(drop, deadline);
  }
}

/** The other databases in which a role owns something or has privileges. */
async function otherDatabasesOf(
  database: AdminDatabase,
  role: string,
  deadline: Deadline,
): Promise<string[]> {
  const [rows = []] = await database.run(
    `SELECT DISTINCT d.datname
       FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
       JOIN pg_catalog.pg_database d ON d.oid = s.dbid
      WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND r.rolname = $1 AND d.datname <> pg_catalog.current_database()`,
    deadline,
    { values: [role] },
  );
  return rows.map(({ datname }) => String(datname));
}
