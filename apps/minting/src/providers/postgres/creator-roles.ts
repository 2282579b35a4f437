/**
 * The roles that make login roles in the place of an integration's privileged role, where it has CREATEROLE and is no superuser.
 *
 * From PostgreSQL 16 on whoever makes a role becomes a member of it, and whoever grants, alters or drops one is checked by
 * walking all memberships: the cost of every mint and of every end grows with the number of live leases. So a fixed number of
 * creator roles share them, each lease belonging to one. With 6,400 live leases on two cores 431 roles a second are dropped
 * where the privileged role alone drops 23, and making one costs the customer's database a third.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { adminLockWaitMs, optimistically } from './optimistic.ts';
import { namesFor } from './role-names.ts';
import { doBlock } from './sql-text.ts';

/** Becoming one takes a look at each, acting as one takes a look at each of its leases: about the root of many leases. */
const creators = 64;

const creatorPrefix = 'mayfly_creator_';

/** The creator roles of one privileged role. */
export interface CreatorRoles {
  /** What all of them are members of, which holds the right to grant the group roles. */
  readonly parent: string;
  /** The one for a login role. */
  of(loginRole: string): string;
}

/**
 * The creator roles that serve here; none where the privileged role does the work itself. `generation` counts from 1: where a
 * database came from another server, those of an earlier one may be there and be nobody's to act as.
 */
export function creatorRoles(
  { version, superuser, role }: ServerFacts,
  generation = 1,
): CreatorRoles | undefined {
  if (superuser || version < 160_000) return undefined;
  const owner = createHash('sha256').update(role).digest('hex').slice(0, 12);
  const suffix = generation === 1 ? '' : `_${generation}`;
  return {
    parent: `mayfly_creators_${owner}${suffix}`,
    of: (loginRole) => {
      const [bucket = 0] = createHash('sha256').update(loginRole).digest();
      return `${creatorPrefix}${owner}_${String(bucket % creators).padStart(2, '0')}${suffix}`;
    },
  };
}

const made = new WeakMap<AdminDatabase, Promise<CreatorRoles | undefined>>();

/**
 * The creator roles that serve here. Makes those that are not there yet, and memberships that are missing, once per process and
 * database. Throws ProviderRejected or ProviderUnavailable.
 */
export async function ensureCreatorRoles(
  database: AdminDatabase,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<CreatorRoles | undefined> {
  if (creatorRoles(facts) === undefined) return undefined;
  const known = made.get(database);
  if (known !== undefined) return known;
  const making = optimistically(() => makeCreatorRoles(database, facts, deadline));
  made.set(database, making);
  making.catch(() => made.delete(database));
  return making;
}

/** A creator role was found missing. */
export function forgetCreatorRoles(database: AdminDatabase): void {
  made.delete(database);
}

/** The name of the creator role that a login role was made by where nothing was in the way, as an SQL expression that reads no table. */
export function firstCreatorOf(loginRole: string, facts: ServerFacts): string | undefined {
  const prefix = firstPrefix(facts);
  if (prefix === undefined) return undefined;
  const bucket = `pg_catalog.get_byte(pg_catalog.sha256(pg_catalog.convert_to(${loginRole}, 'UTF8')), 0) % ${creators}`;
  return `${pg.escapeLiteral(prefix)} || '_' || pg_catalog.lpad((${bucket})::text, 2, '0')`;
}

function firstPrefix(facts: ServerFacts): string | undefined {
  return creatorRoles(facts)?.parent.replace('mayfly_creators_', creatorPrefix);
}

/** Lets the creator roles grant a group, as a statement of PL/pgSQL; `group` is an expression for its name. */
export function grantableByCreators(group: string, { parent }: CreatorRoles): string {
  return `IF NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members
       WHERE roleid = ${oidOf(group)} AND member = ${oidOf(pg.escapeLiteral(parent))} AND admin_option) THEN
     EXECUTE pg_catalog.format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE', ${group}, ${pg.escapeLiteral(parent)});
   END IF;`;
}

/**
 * From here on acts as the creator of a login role, as SQL; as the privileged role itself where that made it. Until the end of the
 * transaction or, with `session`, until `RESET ROLE`. (The privileged role may be one that the login only acts as.)
 */
export function actAsCreatorOf(
  loginRole: string,
  facts: ServerFacts,
  until: 'transaction' | 'session',
): string[] {
  if (creatorRoles(facts) === undefined) return [];
  return [
    `SELECT pg_catalog.set_config('role', coalesce(${creatorOf(pg.escapeLiteral(loginRole))},
       pg_catalog.current_setting('role')), ${until === 'transaction'})`,
  ];
}

/** Ending sessions of a role and dropping what it owns takes membership in it, or superuser. As SQL. */
export function grantMembership(
  who: 'CURRENT_USER' | 'SESSION_USER',
  quotedRole: string,
  { superuser, version }: ServerFacts,
): string[] {
  if (superuser) return [];
  return [`GRANT ${quotedRole} TO ${who}${version >= 160_000 ? ' WITH INHERIT TRUE' : ''}`];
}

/** The name of the creator role that made a login role, as an SQL expression; null where it has none. `role` is one for its name. */
export function creatorOf(role: string): string {
  return `(SELECT c.rolname::text FROM pg_catalog.pg_roles l
       JOIN pg_catalog.pg_auth_members m ON m.roleid = l.oid JOIN pg_catalog.pg_roles c ON c.oid = m.member
      WHERE l.rolname = ${role} AND m.admin_option AND pg_catalog.starts_with(c.rolname::text, '${creatorPrefix}') LIMIT 1)`;
}

/** Two databases of one server, or two processes, may do so at once: what one of them meets of the other's it tries again. */
async function makeCreatorRoles(
  database: AdminDatabase,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<CreatorRoles | undefined> {
  const text = `${doBlock(makeScript(facts))};
    SELECT pg_catalog.current_setting('mayfly.generation')::int AS generation`;
  const rows = await database.run(text, deadline);
  return creatorRoles(facts, Number(rows.at(-1)?.[0]?.['generation']));
}

/** A generation serves if all of its roles that are there are ours to grant; what is not there yet is made. */
function makeScript(facts: ServerFacts): string {
  const generations = namesFor('').map((suffix, index) => {
    const parent = pg.escapeLiteral(creatorRoles(facts, index + 1)?.parent ?? '');
    return `(${index + 1}, ${parent}, ${pg.escapeLiteral(suffix)})`;
  });
  const prefix = pg.escapeLiteral(firstPrefix(facts) ?? '');
  return `DECLARE
    generation int;
    parent text;
    suffix text;
    names text[];
    name text;
  BEGIN
    -- Only who may make roles can hold what is waited for here.
    SET LOCAL lock_timeout = ${adminLockWaitMs};
    FOR generation, parent, suffix IN SELECT * FROM (VALUES ${generations.join(', ')}) AS v ORDER BY 1 LOOP
      names := ARRAY(SELECT ${prefix} || '_' || pg_catalog.lpad(n::text, 2, '0') || suffix
                       FROM pg_catalog.generate_series(0, ${creators - 1}) AS n);
      EXIT WHEN NOT EXISTS (
        SELECT FROM pg_catalog.pg_roles r
         WHERE r.rolname = ANY (names || parent) AND NOT pg_catalog.pg_has_role(r.oid, 'USAGE WITH ADMIN OPTION'));
    END LOOP;
    FOREACH name IN ARRAY parent || names LOOP
      CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name);
      EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN ' || CASE name WHEN parent THEN '' ELSE 'CREATEROLE' END, name);
    END LOOP;
    FOREACH name IN ARRAY names LOOP
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members WHERE roleid = ${oidOf('parent')} AND member = ${oidOf('name')}) THEN
        EXECUTE pg_catalog.format('GRANT %I TO %I WITH INHERIT TRUE, SET FALSE', parent, name);
      END IF;
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members
           WHERE roleid = ${oidOf('name')} AND member = ${oidOf('current_user')} AND set_option) THEN
        EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER WITH INHERIT FALSE, SET TRUE', name);
      END IF;
    END LOOP;
    PERFORM pg_catalog.set_config('mayfly.generation', generation::text, true);
  END`;
}

function oidOf(name: string): string {
  return `(SELECT oid FROM pg_catalog.pg_roles WHERE rolname = ${name})`;
}
