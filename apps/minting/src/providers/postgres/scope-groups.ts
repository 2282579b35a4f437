/**
 * The group roles that hold a scope's privileges. Login roles are members, so ten thousand leases leave nothing in any
 * access list. A group is made when its scope is first asked for and completed at most once a minute (tables come and go);
 * in between a mint does not look at it. Groups of narrowed scopes that have lost their last member are dropped in the
 * background, a minute after at the earliest, because a scope that was asked for once is likely to be asked for again.
 *
 * A group can't vanish under a mint: the mint holds an advisory lock shared, which the drop takes exclusively before it
 * looks for members; a mint that comes after the drop fails with `undefined_object` and makes the group anew.
 */
import type { PostgresScope } from '@mayfly/domain';
import pg from 'pg';
import { deadlineIn, type Deadline } from '../deadline.ts';
import type { AdminDatabase } from './admin-database.ts';
import {
  creatorRoles,
  ensureCreatorRoles,
  forgetCreatorRoles,
  grantableByCreators,
} from './creator-roles.ts';
import { missingGrants } from './group-privileges.ts';
import {
  groupLockKey,
  groupRoleName,
  loginRolePattern,
  narrowGroupPrefix,
  privilegesLockKey,
  type Place,
} from './role-names.ts';

export interface ScopeGroupsOptions {
  /** How long a group is taken for complete, and the pause between two looks for empty ones, in milliseconds. */
  readonly freshMs: number;
  /** Deadline of what a group takes, in milliseconds: shared by all mints that wait for it, so none of theirs. */
  readonly deadlineMs: number;
}

interface Known {
  readonly ready: Promise<void>;
  readonly freshUntil: number;
}

/** Most groups remembered; a forgotten one is looked at again. */
const maxKnown = 10_000;

export class ScopeGroups {
  readonly #known = new Map<string, Known>();
  readonly #sweeps = new Map<string, { timer: NodeJS.Timeout; place: Place }>();

  constructor(private readonly options: ScopeGroupsOptions) {}

  /** The group of a scope, complete. Throws ProviderRejected or ProviderUnavailable. */
  async ensure(
    database: AdminDatabase,
    place: Place,
    scope: PostgresScope,
    bounds: PostgresScope,
  ): Promise<string> {
    const group = groupRoleName(place, scope, bounds);
    const known = this.#known.get(group);
    if (known !== undefined && performance.now() < known.freshUntil) {
      await known.ready;
      return group;
    }
    const ready = makeGroup(database, group, scope, deadlineIn(this.options.deadlineMs));
    this.#known.set(group, { ready, freshUntil: performance.now() + this.options.freshMs });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxKnown) break;
      this.#known.delete(oldest);
    }
    try {
      await ready;
    } catch (error) {
      this.#known.delete(group);
      throw error;
    }
    return group;
  }

  /** The group, or a role that may grant it, was found missing. */
  forget(group: string, database: AdminDatabase): void {
    this.#known.delete(group);
    forgetCreatorRoles(database);
  }

  /** Has the empty narrowed groups of a place dropped, in a while. */
  sweepLater(database: AdminDatabase, place: Place): void {
    const key = narrowGroupPrefix(place);
    if (this.#sweeps.has(key)) return;
    const timer = setTimeout(() => {
      this.#sweeps.delete(key);
      // Whatever went wrong, the next end of a narrowed lease brings the next attempt.
      this.dropEmptyGroups(database, place).catch(() => undefined);
    }, this.options.freshMs);
    timer.unref();
    this.#sweeps.set(key, { timer, place });
  }

  /** Drops the narrowed groups of a place that no login role is a member of; answers with their names. */
  async dropEmptyGroups(database: AdminDatabase, place: Place): Promise<string[]> {
    const deadline = deadlineIn(this.options.deadlineMs);
    const { superuser, version } = await database.facts(deadline);
    const [rows = []] = await database.run(emptyGroups, deadline, { values: [narrowGroupPrefix(place)] });
    const dropped: string[] = [];
    for (const { rolname } of rows as unknown as readonly { rolname: string }[]) {
      await database.run(dropStatement(rolname, superuser, version), deadline);
      this.#known.delete(rolname);
      dropped.push(rolname);
    }
    return dropped;
  }

  close(): void {
    for (const { timer } of this.#sweeps.values()) clearTimeout(timer);
    this.#sweeps.clear();
  }
}

/** The privileged role itself is a member of what it made (PostgreSQL 16: `ADMIN OPTION`), so only login roles count. */
const loginMembers = `
  SELECT FROM pg_auth_members m JOIN pg_roles l ON l.oid = m.member
   WHERE m.roleid = g.oid AND l.rolname ~ '${loginRolePattern}'`;

const emptyGroups = `
  SELECT g.rolname FROM pg_roles g
   WHERE starts_with(g.rolname, $1) AND NOT EXISTS (${loginMembers})
   LIMIT 100`;

/** Makes the group, under the lock that keeps two from making it at once, and grants what it lacks. */
async function makeGroup(
  database: AdminDatabase,
  group: string,
  scope: PostgresScope,
  deadline: Deadline,
): Promise<void> {
  const name = pg.escapeIdentifier(group);
  const creators = creatorRoles(await database.facts(deadline));
  if (creators !== undefined) await ensureCreatorRoles(database, creators, deadline);
  await database.run(
    `DO $mayfly$ BEGIN
       PERFORM pg_advisory_xact_lock(${groupLockKey(group)});
       IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${pg.escapeLiteral(group)}) THEN
         CREATE ROLE ${name} NOLOGIN;
       END IF;
       ${creators === undefined ? '' : grantableByCreators(group, creators)}
     END $mayfly$`,
    deadline,
  );
  const grants = await missingGrants(database, group, scope, deadline);
  if (grants.length === 0) return;
  await database.run([`SELECT pg_advisory_xact_lock(${privilegesLockKey})`, ...grants].join(';\n'), deadline);
}

/** Looks once more under the exclusive lock: a mint may have joined it since. */
function dropStatement(group: string, superuser: boolean, version: number): string {
  const name = pg.escapeIdentifier(group);
  const inherit = version >= 160_000 ? ' WITH INHERIT TRUE' : '';
  return `DO $mayfly$ BEGIN
    PERFORM pg_advisory_xact_lock(${privilegesLockKey});
    PERFORM pg_advisory_xact_lock(${groupLockKey(group)});
    IF EXISTS (SELECT FROM pg_roles g WHERE g.rolname = ${pg.escapeLiteral(group)} AND EXISTS (${loginMembers})) THEN
      RETURN;
    END IF;
    ${superuser ? '' : `GRANT ${name} TO CURRENT_USER${inherit};`}
    DROP OWNED BY ${name};
    DROP ROLE ${name};
  END $mayfly$`;
}
