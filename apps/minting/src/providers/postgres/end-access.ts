/**
 * Ends the access of a lease's login role: afterwards nobody can log in as it, no session of it is left, and no transaction that it
 * prepared. What the role owns is another matter (`clean-up.ts`).
 *
 * The holder of a lease is taken for an attacker, and nothing here waits for what it can hold:
 * - `ALTER ROLE … NOLOGIN` waits for the role's row, which a session of the lease locks by changing its own password. So it waits
 *   for milliseconds only, and the sessions are cut in any case, which frees the row.
 * - A prepared transaction keeps its locks without a session. It is rolled back.
 * - A session that has logged in is not in `pg_stat_activity` before it has started up, which its holder can put off for half an
 *   hour (`post_auth_delay`). So what is still starting up is looked for among the locks, where it shows already.
 * - Up to PostgreSQL 14 a lease may make others members of itself, and hold the row of such a membership by taking it back in a
 *   transaction that stays open. So what a role is a member of by the doing of other leases is left to the clean-up.
 * - Up to PostgreSQL 15 every lease of a group may prepare transactions as the group, again and again. So of those only the ones count that
 *   are older than the end of the role's last session.
 * - Up to PostgreSQL 14 a role may grant itself to others, and the right to end its sessions comes by such a grant: a transaction
 *   of the lease that makes the same grant would hold ours up. So ours is then made to a role that the lease cannot know of.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { asProviderFailure, ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { actAsCreatorOf, grantMembership } from './creator-roles.ts';
import { rollBackPrepared } from './prepared-transactions.ts';
import { loginRolePattern } from './role-names.ts';
import {
  insufficientPrivilege,
  isOfTheLease,
  sessionsLeft,
  sqlStateOf,
  tooManyConnections,
} from './upstream-error.ts';

/** How long the end of a lease waits for a lock. Short, because whoever holds it may be the lease itself. Milliseconds. */
export const lockTimeoutMs = 20;

/** Of each statement that ends access. Far below a call's deadline, so that there is time for many tries. Milliseconds. */
export const statementTimeoutMs = 2_000;

/** How long one statement looks for sessions before it gives the others of the end their turn. Milliseconds. */
const sessionsTimeoutMs = 500;

/** How long what is starting up and may not be cut is looked at again. A stranger can have every end wait for so long. Milliseconds. */
const unsureForMs = 40;

/** How long the lock of the role's row is queued for while those who hold it are being cut. Milliseconds. */
const queueMs = 400;

/** Between two tries, in milliseconds. */
const pauseMs = 10;

/** The role of a lease, and where else it may have left something that works on without it. */
export interface EndedRole {
  readonly name: string;
  /** The group role that it was a member of. Up to PostgreSQL 15 a lease may act as its group. */
  readonly group: string | undefined;
  /** Whether standbys have to replay the end, and so wait for its record to be written to the log. */
  readonly hasStandbys: boolean;
}

/** Whose prepared transactions may be of this lease. */
function ownersOf({ name, group }: Pick<EndedRole, 'name' | 'group'>): string[] {
  return [name, group].filter((owner) => owner !== undefined);
}

/**
 * Locks the role out, as statements. With the rights that cutting its sessions takes, unless the privileged role has them
 * (`mayActAsRole`); with the memberships that the role has (`leaves`).
 */
export function lockOut(
  { name, hasStandbys }: EndedRole,
  facts: ServerFacts,
  {
    waitMs = lockTimeoutMs,
    mayActAsRole = false,
    leaves = hasStandbys && facts.version < 160_000,
    isDurable = hasStandbys,
  } = {},
): string[] {
  const role = pg.escapeIdentifier(name);
  return [
    'BEGIN',
    // `local`: it waits for our own disk and for no standby, which may be away. `off` where the clean-up follows, which waits for both.
    `SET LOCAL synchronous_commit = ${isDurable ? 'local' : 'off'}`,
    `SET LOCAL lock_timeout = ${waitMs}`,
    `SET LOCAL statement_timeout = ${statementTimeoutMs}`,
    ...actAsCreatorOf(name, facts, 'session'),
    `ALTER ROLE ${role} NOLOGIN`,
    ...(mayActAsRole ? [] : grantMembership('CURRENT_USER', role, facts)),
    // On a standby that shows the one, the other is done.
    ...(leaves ? [leaveGroups(name)] : []),
    'COMMIT',
  ];
}

/**
 * Takes its own memberships from a role, but for those in other leases, whose rows these may hold. Views and functions that it owns act in
 * its name for whoever may use them, until the clean-up removes them; and up to PostgreSQL 14 it may have made another lease a member of
 * itself.
 */
function leaveGroups(name: string): string {
  return `DO $mayfly$ DECLARE groups name; BEGIN
    FOR groups IN SELECT g.rolname FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles g ON g.oid = m.roleid JOIN pg_catalog.pg_roles l ON l.oid = m.member
       WHERE l.rolname = ${pg.escapeLiteral(name)} AND g.rolname !~ '${loginRolePattern}' LOOP
      EXECUTE pg_catalog.format('REVOKE %I FROM %I', groups, ${pg.escapeLiteral(name)});
    END LOOP;
  END $mayfly$`;
}

/**
 * Cuts the sessions of a role until none is left, as one statement that raises `sessionsLeft` when some do not go, or when the role
 * has prepared transactions; `undefined_object` when there is no such role, unless it is `knownAs` something else: then the server may
 * have it no more, or not yet.
 *
 * What is still starting up is cut in the name of the role itself, which may cut nobody else's. To a superuser PostgreSQL 18 lists
 * it as a client without a user. Elsewhere it is in no list, or looks like the server's own processes; but it is in a
 * transaction, which is locked by its process. Those locks are read before the sessions are, so that nothing passes from one to
 * the other unseen. One that may not be cut is somebody else's, or has not
 * come to whose it is: for a few milliseconds, that may be between the look at whether the role may log in and the note that it
 * is the role's. So those are looked at again for a moment (where it shows that they wait for their client's password, they are
 * not: what comes after that finds that the role may not log in).
 *
 * It is part of every end, and planning a query costs more than running it here: hence functions in place of the views over them.
 */
export function cutSessions(
  { name, group }: EndedRole,
  { version, superuser }: ServerFacts,
  knownAs?: KnownAs,
): string {
  const role = pg.escapeLiteral(name);
  const here = `pg_catalog.to_regrole(${role})`;
  const isListed = version >= 180_000 && superuser;
  const looked = isListed
    ? `(WHERE a.usesysid IS NULL AND a.backend_type = 'client backend' AND a.wait_event_type IS DISTINCT FROM 'Client')`
    : `(WHERE ${version < 180_000} OR a.usesysid IS NOT NULL OR a.datid IS NOT NULL)`;
  return `DO $mayfly$ DECLARE
      lease oid := ${knownAs === undefined ? `${role}::pg_catalog.regrole` : `coalesce(${here}, ${Number(knownAs.oid ?? 0)}::pg_catalog.oid)`};
      acting text := pg_catalog.current_setting('role');
      begun timestamptz := pg_catalog.clock_timestamp();
      is_unsure bool;
      in_transactions int[];
      listed int[];
      starting int[];
      one int;
      left_over int;
    BEGIN
      LOOP
        ${isListed ? '' : inTransactions}
        SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid)) FILTER (WHERE a.usesysid = lease${knownAs?.isDropped === true ? ` OR ${ofDroppedRoles}` : ''}),
            pg_catalog.array_agg(a.pid) FILTER ${looked}
          INTO left_over, listed FROM pg_catalog.pg_stat_get_activity(NULL) AS a;
        ${isListed ? 'starting := listed;' : notListed}
        is_unsure := false;
        IF starting IS NOT NULL${knownAs === undefined ? '' : ` AND ${here} IS NOT NULL`} THEN
          PERFORM pg_catalog.set_config('role', ${role}, true);
          FOREACH one IN ARRAY starting LOOP
            BEGIN
              IF pg_catalog.pg_terminate_backend(one) THEN left_over := left_over + 1; END IF;
            EXCEPTION WHEN insufficient_privilege THEN is_unsure := true;
            END;
          END LOOP;
          PERFORM pg_catalog.set_config('role', acting, true);
        ${knownAs?.isDropped === true && superuser ? countStarting : ''}
        END IF;
        EXIT WHEN left_over = 0
          AND (NOT is_unsure OR pg_catalog.clock_timestamp() > begun + interval '${unsureForMs} milliseconds');
        IF pg_catalog.clock_timestamp() > begun + interval '${sessionsTimeoutMs} milliseconds' THEN
          RAISE EXCEPTION 'sessions are left' USING ERRCODE = '${sessionsLeft}';
        END IF;
        PERFORM pg_catalog.pg_sleep(0.005);
        PERFORM pg_catalog.pg_stat_clear_snapshot();
      END LOOP;
      IF pg_catalog.current_setting('max_prepared_transactions') <> '0' THEN
        IF EXISTS (SELECT FROM pg_catalog.pg_prepared_xact() AS p
                    WHERE p.ownerid = lease${group === undefined ? '' : ` OR p.ownerid = pg_catalog.to_regrole(${pg.escapeLiteral(pg.escapeIdentifier(group))})`}) THEN
          RAISE EXCEPTION 'prepared transactions are left' USING ERRCODE = '${sessionsLeft}';
        END IF;
      END IF;
    END $mayfly$`;
}

/** How a role is told by more than its name. */
export interface KnownAs {
  /** The same at all physical standbys. */
  readonly oid?: string | undefined;
  /** Nobody knows its number any more: whatever session is of a role that does not exist may be one of it. */
  readonly isDropped: boolean;
}

const ofDroppedRoles = `(a.usesysid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid))`;

/**
 * Of a role that does not exist nobody can cut what is still starting up, so that is waited for: it shows itself or goes. Only a
 * superuser can tell it from the server's own processes.
 */
const countStarting = `ELSIF starting IS NOT NULL THEN
          left_over := left_over + pg_catalog.cardinality(starting);`;

/** Processes that are in a transaction, as every one is that starts up. */
const inTransactions = `in_transactions := ARRAY(
          SELECT l.pid FROM pg_catalog.pg_lock_status() AS l
           WHERE l.locktype = 'virtualxid' AND l.pid IS NOT NULL AND l.pid <> pg_catalog.pg_backend_pid());
        PERFORM pg_catalog.pg_stat_clear_snapshot();`;

/** Those of them that are in no list. One by one, because an expression takes no planning. */
const notListed = `starting := NULL;
        FOREACH one IN ARRAY in_transactions LOOP
          IF one <> ALL (listed) THEN starting := pg_catalog.array_append(starting, one); END IF;
        END LOOP;`;

/**
 * What ends access where nobody resists: one text for one round trip. Where a clean-up follows in the same, that takes the role's own
 * memberships along; by itself it has to (`leaves`).
 */
export function endAccessScript(
  role: EndedRole,
  facts: ServerFacts,
  options: { readonly leaves?: boolean; readonly isDurable?: boolean } = {},
): string[] {
  return [...lockOut(role, facts, options), cutSessions(role, facts)];
}

/**
 * Ends access where the one round trip did not: each step by itself, again and again, until nothing is left. Throws ProviderRejected
 * when the time is over, or when a right is missing; ProviderUnavailable when the server cannot be reached; an error with
 * `undefined_object` as its cause when the role is gone.
 */
export async function endAccessStepByStep(
  database: AdminDatabase,
  role: EndedRole,
  openOther: (database: string) => AdminDatabase,
  deadline: Deadline,
): Promise<void> {
  const facts = await database.facts(deadline);
  const way = new WayIn(database, role, facts, deadline);
  // What is prepared as the group has the group as its owner, whoever did it.
  const alone = { ...role, group: undefined };
  const hasTime = () => deadline.remainingMs() > statementTimeoutMs && !deadline.signal.aborted;
  let last: unknown;
  let silentSince: string | undefined;
  try {
    while (hasTime()) {
      const failures: unknown[] = [];
      const attempt = async (step: () => Promise<void>) => {
        // A step that has no time left would say that the server can't be reached.
        if (!hasTime()) {
          failures.push(last);
          return;
        }
        try {
          await step();
        } catch (error) {
          // Without its way in, what is missing may be a right that the next round gets.
          if (!isUpToLeases(error) && !(way.isShut && isForWantOfRight(error))) throw error;
          failures.push(error);
        }
      };
      await attempt(() => way.prepare());
      await attempt(() => way.leaveGroups());
      // Side by side: who waits for the lock of the role's row has it before whoever comes later, as soon as those that hold it are cut.
      await Promise.all([
        attempt(() =>
          way.run(
            lockOut(role, facts, {
              waitMs: queueMs,
              mayActAsRole: way.isMade,
              leaves: false,
              isDurable: true,
            }),
          ),
        ),
        attempt(() => way.run([cutSessions(alone, facts)])).then(() =>
          attempt(() => way.rollBackPrepared(openOther)),
        ),
      ]);
      if (failures.length === 0) {
        silentSince ??= await way.now();
        if (!(await way.hasPreparedAsGroup(silentSince))) return;
      }
      last = failures.at(-1) ?? last;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } finally {
    await way.close();
  }
  throw new ProviderRejected('the sessions of the lease do not end', {
    cause: last instanceof Error ? last.cause : last,
  });
}

/** The rights over the role that ending it takes, had in a way that the lease cannot stand in, and before anything else is tried. */
class WayIn {
  /** Up to PostgreSQL 15: the role that stands between the privileged role and the lease's. */
  readonly #oneOff: string | undefined;
  #isMade = false;
  #isShut = false;

  constructor(
    private readonly database: AdminDatabase,
    private readonly role: EndedRole,
    private readonly facts: ServerFacts,
    private readonly deadline: Deadline,
  ) {
    const isNeeded = !facts.superuser && facts.version < 160_000;
    this.#oneOff = isNeeded ? `${oneOffPrefix}${randomBytes(8).toString('hex')}` : undefined;
  }

  /** Whether the privileged role may act as the lease's, in a way that the lease cannot stand in. */
  get isMade(): boolean {
    return this.#isMade;
  }

  /** Whether making it has failed so far, for what the lease may have done. */
  get isShut(): boolean {
    return this.#isShut;
  }

  /** Makes the privileged role a member of the lease's role, where it may not act as it anyway. Once. */
  async prepare(): Promise<void> {
    if (this.facts.superuser || this.#isMade) return;
    const role = pg.escapeIdentifier(this.role.name);
    await this.#send([
      'BEGIN',
      `SET LOCAL lock_timeout = ${lockTimeoutMs}`,
      `SET LOCAL statement_timeout = ${statementTimeoutMs}`,
      ...(this.#oneOff === undefined
        ? [
            ...actAsCreatorOf(this.role.name, this.facts, 'transaction'),
            ...grantMembership('CURRENT_USER', role, this.facts),
          ]
        : throughOneOff(pg.escapeIdentifier(this.#oneOff), this.role)),
      'COMMIT',
    ]).catch((error: unknown) => {
      this.#isShut = isOfTheLease(error);
      throw error;
    });
    this.#isShut = false;
    this.#isMade = true;
  }

  /** Runs statements of `lockOut` or `cutSessions`. */
  async run(statements: readonly string[]): Promise<void> {
    if (statements.length === 0) return;
    const asCreator = actAsCreatorOf(this.role.name, this.facts, 'session');
    const needsCreator = asCreator.length > 0 && !statements.includes(asCreator[0] ?? '');
    await this.#send([
      ...(needsCreator ? asCreator : []),
      ...statements,
      ...(asCreator.length > 0 ? ['RESET ROLE'] : []),
    ]);
  }

  /** Takes the role out of its groups. What of that somebody holds up is tried again. */
  async leaveGroups(): Promise<void> {
    await this.run([
      'BEGIN',
      `SET LOCAL lock_timeout = ${lockTimeoutMs}`,
      leaveGroups(this.role.name),
      'COMMIT',
    ]);
  }

  /** The server's time. */
  async now(): Promise<string> {
    const [rows = []] = await this.database.run(
      'SELECT pg_catalog.clock_timestamp()::text AS now',
      this.deadline,
      { statementTimeoutMs },
    );
    return String(rows[0]?.['now']);
  }

  /** Whether something is prepared as the group that this role may have prepared: it had its last session before that time of the server. */
  async hasPreparedAsGroup(lastSessionAt: string): Promise<boolean> {
    const { group } = this.role;
    if (group === undefined || this.facts.version >= 160_000) return false;
    const [rows = []] = await this.database.run(
      `SELECT FROM pg_catalog.pg_prepared_xacts p
        WHERE p.owner = $1::text AND p.prepared <= $2::pg_catalog.timestamptz LIMIT 1`,
      this.deadline,
      { values: [group, lastSessionAt], statementTimeoutMs },
    );
    return rows.length > 0;
  }

  /** What it prepared would keep its locks, and could be committed later by whoever may act as it. */
  rollBackPrepared(openOther: (database: string) => AdminDatabase): Promise<void> {
    return rollBackPrepared(this.database, ownersOf(this.role), openOther, this.deadline);
  }

  async close(): Promise<void> {
    if (!this.#isMade || this.#oneOff === undefined) return;
    const oneOff = pg.escapeIdentifier(this.#oneOff);
    // Best effort: it can't log in. Somebody may have granted it something, so that it would not go.
    await this.#send([`DROP OWNED BY ${oneOff}`, `DROP ROLE ${oneOff}`]).catch(() => undefined);
  }

  async #send(statements: readonly string[]): Promise<void> {
    await this.database.run(statements.join('\n;\n'), this.deadline, {
      ownTransactions: true,
      statementTimeoutMs,
    });
  }
}

/** What this lease or others may have brought about; another database is reached by a connection that they may have taken. */
function isUpToLeases(error: unknown): boolean {
  return isOfTheLease(error) || sqlStateOf(asProviderFailure(error).cause) === tooManyConnections;
}

function isForWantOfRight(error: unknown): boolean {
  return sqlStateOf(asProviderFailure(error).cause) === insufficientPrivilege;
}

function throughOneOff(oneOff: string, { name, group }: EndedRole): string[] {
  return [
    `CREATE ROLE ${oneOff} NOLOGIN`,
    `GRANT ${pg.escapeIdentifier(name)} TO ${oneOff}`,
    // The group may have been retired meanwhile, and so have another name or none.
    ...(group === undefined
      ? []
      : [
          `DO $mayfly$ BEGIN GRANT ${pg.escapeIdentifier(group)} TO ${oneOff}; EXCEPTION WHEN undefined_object THEN NULL; END $mayfly$`,
        ]),
    `GRANT ${oneOff} TO CURRENT_USER`,
  ];
}

/** What the roles begin with that exist for the end of one lease only (PostgreSQL up to 15). */
export const oneOffPrefix = 'mayfly_end_';
