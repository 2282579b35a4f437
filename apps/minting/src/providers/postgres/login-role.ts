/**
 * The login role of one lease: made in one round trip, ended in one. The statements are built here; names and literals are
 * quoted by the driver.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { asProviderFailure, mayHaveTakenEffect } from '../provider-error.ts';
import type { AdminDatabase, ReachedServer, ServerFacts } from './admin-database.ts';
import { ensureCreatorRoles, grantMembership } from './creator-roles.ts';
import { loginRolePattern } from './role-names.ts';
import { withCustomersPath } from './session-setup.ts';
import { arrivedLate, refuseAfter, serverInstant } from './server-clock.ts';
import {
  askIdentityAnd,
  atAnotherServer,
  identityIn,
  mayBeAnother,
  type ServerIdentity,
} from './server-identity.ts';
import {
  insufficientPrivilege,
  invalidParameterValue,
  sqlStateOf,
  undefinedObject,
} from './upstream-error.ts';

export interface LoginRole {
  readonly name: string;
  readonly group: string;
  /** SCRAM-SHA-256, see scram-verifier.ts. */
  readonly verifier: string;
  readonly connectionLimit: number;
  readonly ttlSeconds: number;
  /** See `cutOnStandbys`. */
  readonly hasStandbys: boolean;
}

/**
 * Lets the privileged role cut the sessions of a role from the beginning, as SQL. A right that came with the end would be of no use at
 * a standby as long as a session there holds up the replay.
 */
export function cutOnStandbys(name: string, facts: ServerFacts): string[] {
  return grantMembership('CURRENT_USER', pg.escapeIdentifier(name), facts);
}

/** Stands at the front of every statement that makes a role, so that one still running can be told by `pg_stat_activity`. */
function mintMark(name: string): string {
  return `/* mint ${name} */`;
}

/**
 * The mint's own deadline, as a statement of PL/pgSQL. It goes right before what makes the role: what arrives later makes nothing.
 */
function refuseAfterDeadline({ clock }: ReachedServer, deadline: Deadline): string {
  return refuseAfter(serverInstant(clock, deadline.remainingMs(), performance.now()));
}

/** By the server's clock, whatever its DateStyle and time zone. */
function expiration(ttlSeconds: number): string {
  return inUtc(fromNow(ttlSeconds));
}

/** An instant of the server's clock, as SQL. */
export function fromNow(ttlSeconds: number): string {
  return `(pg_catalog.now() + pg_catalog.make_interval(secs => ${Math.floor(ttlSeconds)}))`;
}

/** RFC 3339 with microseconds, as SQL. */
export function inUtc(instant: string): string {
  return `pg_catalog.to_char(${instant} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
}

/** Reads the server's clock for custom statements. */
export async function readExpiration(
  database: AdminDatabase,
  ttlSeconds: number,
  deadline: Deadline,
): Promise<string> {
  const [rows] = await database.run(`SELECT ${expiration(ttlSeconds)} AS expires_at`, deadline);
  return String(rows?.[0]?.['expires_at']);
}

/**
 * Makes the role: one round trip, one transaction, `VALID UNTIL` by the server's clock. DDL takes no parameters and no
 * expressions, hence the DO block. Answers with the instant at which the server stops logins by itself, and which server it is.
 */
export async function createLoginRole(
  database: AdminDatabase,
  role: LoginRole,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<{ readonly expiresAt: Date; readonly server: ServerIdentity | undefined }> {
  const name = pg.escapeIdentifier(role.name);
  const group = pg.escapeIdentifier(role.group);
  const create = `CREATE ROLE ${name} LOGIN INHERIT PASSWORD ${pg.escapeLiteral(role.verifier)} CONNECTION LIMIT ${role.connectionLimit} VALID UNTIL `;
  // SET FALSE (PostgreSQL 16): what the role makes is its own and goes with it; it can't act as the group.
  const creator = (await ensureCreatorRoles(database, facts, deadline))?.of(role.name);
  const membership = facts.version >= 160_000 ? ' WITH INHERIT TRUE, SET FALSE' : '';
  const { rows, server } = await database.runKnowing(
    (reached) =>
      `${mintMark(role.name)} DO $mayfly$ BEGIN
       ${refuseAfterDeadline(reached, deadline)}
       ${creator === undefined ? '' : `SET LOCAL ROLE ${pg.escapeIdentifier(creator)};`}
       EXECUTE ${pg.escapeLiteral(create)} || pg_catalog.quote_literal(${expiration(role.ttlSeconds)});
       GRANT ${group} TO ${name}${membership};
       ${
         role.hasStandbys
           ? cutOnStandbys(role.name, facts)
               .map((grant) => `${grant};`)
               .join(' ')
           : ''
       }
     END $mayfly$;
     SELECT ${expiration(role.ttlSeconds)} AS expires_at`,
    deadline,
  );
  return { expiresAt: new Date(String(rows.at(-1)?.[0]?.['expires_at'])), server: server.identity };
}

/**
 * Runs custom statements as one transaction. Unless one of them is a COMMIT: so whichever fails, something may be there. (A procedure that commits can't be called in there; PostgreSQL refuses it.) Answers with which server it is.
 */
export async function runCreationStatements(
  database: AdminDatabase,
  name: string,
  statements: readonly string[],
  deadline: Deadline,
): Promise<ServerIdentity | undefined> {
  const textFor = (reached: ReachedServer) => {
    const inTime = `DO $mayfly$ BEGIN ${refuseAfterDeadline(reached, deadline)} END $mayfly$`;
    return `${mintMark(name)} ${[inTime, ...withCustomersPath(statements)].join('\n;\n')}`;
  };
  const made = await database
    .runKnowing(textFor, deadline, { ownTransactions: true, isCustom: true })
    .catch((error: unknown) => {
      const failure = asProviderFailure(error);
      const state = sqlStateOf(failure.cause);
      throw state === undefined || state === arrivedLate ? failure : mayHaveTakenEffect(failure);
    });
  return made.server.identity;
}

/** Whether a mint was refused as too late. While there is time, that was the reading of the clock. */
export function cameTooLate(error: unknown): boolean {
  return failedWith(error, [arrivedLate]);
}

/** Whether a mint failed because its group, or a creator role, has been dropped meanwhile. */
export function roleWasMissing(error: unknown): boolean {
  // SET ROLE complains of its parameter's value.
  return failedWith(error, [undefinedObject, invalidParameterValue]);
}

/** Whether a mint failed for lack of a right: memberships that somebody has taken away are made anew for the next. */
export function rightWasMissing(error: unknown): boolean {
  return failedWith(error, [insufficientPrivilege]);
}

function failedWith(error: unknown, states: readonly string[]): boolean {
  return error instanceof Error && states.includes(sqlStateOf(error.cause) ?? '');
}

/**
 * Ends statements that are still making this role: a connection that was cut leaves its statement running, and what it made
 * a moment after we looked would never be found. Resolves when none is left.
 */
export async function stopUnfinishedMints(
  database: AdminDatabase,
  name: string,
  deadline: Deadline,
): Promise<void> {
  // In two pieces, so that this statement does not find itself, or another that looks for the same.
  const mark = `'/* mint ' || ${pg.escapeLiteral(`${name} */`)}`;
  await database.run(
    `DO $mayfly$ DECLARE running int; BEGIN
       LOOP
         SELECT count(pg_terminate_backend(pid)) INTO running FROM pg_stat_activity
          WHERE usename = current_user AND state = 'active' AND strpos(query, ${mark}) > 0;
         EXIT WHEN running = 0;
         PERFORM pg_sleep(0.005);
         PERFORM pg_stat_clear_snapshot();
       END LOOP;
     END $mayfly$`,
    deadline,
  );
}

/** Names of login roles whose lease ids end with a mark, above `after`, ascending. */
export async function listLoginRoles(
  database: AdminDatabase,
  { mark, after, limit }: { readonly mark: string; readonly after: string; readonly limit: number },
  deadline: Deadline,
): Promise<string[]> {
  const [rows = []] = await database.run(
    `SELECT rolname FROM pg_roles
      WHERE rolcanlogin AND rolname ~ '${loginRolePattern}' AND right(rolname, length($1)) = $1
        AND rolname COLLATE "C" > $2
      ORDER BY rolname COLLATE "C" LIMIT $3`,
    deadline,
    { values: [mark, after, limit] },
  );
  return rows.map((row) => String(row['rolname']));
}

/** Whether a role of this name exists, and at which server, if that says. */
export async function findLoginRole(
  database: AdminDatabase,
  name: string,
  deadline: Deadline,
): Promise<{ readonly exists: boolean; readonly server: ServerIdentity | undefined }> {
  const exists = `EXISTS (SELECT FROM pg_roles WHERE rolname = ${pg.escapeLiteral(name)}) AS role_exists`;
  const row = (await database.run(askIdentityAnd(exists), deadline)).at(-1)?.[0];
  return { exists: row?.['role_exists'] === true, server: identityIn(row) };
}

/**
 * Whether the role is gone from the server where it was made. Throws ProviderRejected when it is not at the one that is reached and
 * that may be another.
 */
export async function isGone(
  database: AdminDatabase,
  name: string,
  madeAt: ServerIdentity | undefined,
  deadline: Deadline,
): Promise<boolean> {
  const { exists, server } = await findLoginRole(database, name, deadline);
  if (!exists && mayBeAnother(madeAt, server)) throw atAnotherServer(madeAt, server);
  return !exists;
}
