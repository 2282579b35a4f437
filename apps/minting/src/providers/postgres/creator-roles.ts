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

/** The creator roles that serve here; none where the privileged role does the work itself. */
export function creatorRoles({ version, superuser, role }: ServerFacts): CreatorRoles | undefined {
  if (superuser || version < 160_000) return undefined;
  const owner = createHash('sha256').update(role).digest('hex').slice(0, 12);
  return {
    parent: `mayfly_creators_${owner}`,
    of: (loginRole) => {
      const [bucket = 0] = createHash('sha256').update(loginRole).digest();
      return `${creatorPrefix}${owner}_${String(bucket % creators).padStart(2, '0')}`;
    },
  };
}

const made = new WeakMap<AdminDatabase, Promise<unknown>>();

/** Makes those that are not there yet, and memberships that are missing, once per process and database. Throws ProviderRejected or ProviderUnavailable. */
export async function ensureCreatorRoles(
  database: AdminDatabase,
  { parent }: CreatorRoles,
  deadline: Deadline,
) {
  const known = made.get(database);
  if (known !== undefined) return known;
  const making = database.run(makeScript(parent), deadline);
  made.set(database, making);
  making.catch(() => made.delete(database));
  return making;
}

/** A creator role was found missing. */
export function forgetCreatorRoles(database: AdminDatabase): void {
  made.delete(database);
}

/** Lets the creator roles grant a group, as SQL. */
export function grantableByCreators(group: string, { parent }: CreatorRoles): string {
  return `IF NOT EXISTS (SELECT FROM pg_auth_members
       WHERE roleid = ${oidOf(pg.escapeLiteral(group))} AND member = ${oidOf(pg.escapeLiteral(parent))} AND admin_option) THEN
     GRANT ${pg.escapeIdentifier(group)} TO ${pg.escapeIdentifier(parent)} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
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
    `SELECT set_config('role', coalesce((
       SELECT c.rolname FROM pg_roles l JOIN pg_auth_members m ON m.roleid = l.oid JOIN pg_roles c ON c.oid = m.member
        WHERE l.rolname = ${pg.escapeLiteral(loginRole)} AND m.admin_option AND starts_with(c.rolname, '${creatorPrefix}')
        LIMIT 1), current_setting('role')), ${until === 'transaction'})`,
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

/** Two databases of one server may do so at once: the lock is the database's, the roles are the server's. */
function makeScript(parent: string): string {
  const prefix = parent.replace('mayfly_creators_', creatorPrefix);
  const parentName = pg.escapeIdentifier(parent);
  return `DO $mayfly$ DECLARE name text; BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(${pg.escapeLiteral(parent)}, 0));
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${pg.escapeLiteral(parent)}) THEN
      BEGIN
        CREATE ROLE ${parentName} NOLOGIN;
      EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
      END;
    END IF;
    FOR number IN 0..${creators - 1} LOOP
      name := ${pg.escapeLiteral(`${prefix}_`)} || lpad(number::text, 2, '0');
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
        BEGIN
          EXECUTE format('CREATE ROLE %I NOLOGIN CREATEROLE', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
      END IF;
      IF NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = ${oidOf(pg.escapeLiteral(parent))} AND member = ${oidOf('name')}) THEN
        EXECUTE format('GRANT ${parentName.replaceAll("'", "''")} TO %I WITH INHERIT TRUE, SET FALSE', name);
      END IF;
      IF NOT EXISTS (SELECT FROM pg_auth_members
           WHERE roleid = ${oidOf('name')} AND member = ${oidOf('current_user')} AND set_option) THEN
        EXECUTE format('GRANT %I TO CURRENT_USER WITH INHERIT FALSE, SET TRUE', name);
      END IF;
    END LOOP;
  END $mayfly$`;
}

function oidOf(name: string): string {
  return `(SELECT oid FROM pg_roles WHERE rolname = ${name})`;
}
