/**
 * The end of a lease on the hot standbys that its holder can use. A session there knows nothing of the primary's `NOLOGIN`, and goes on
 * even when the role has been dropped; and until the standby has replayed it, whoever is cut logs in again. So sessions are cut in a
 * loop until both are true: nobody can log in, and no session is left.
 *
 * That the standby has the role, without the right to log in, is proof that it has replayed the end. That it has no role is none: it
 * may not have replayed the mint. Only with the position in the log that the primary was at is it.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { asProviderFailure, ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { actAsCreatorOf } from './creator-roles.ts';
import { cutSessions, statementTimeoutMs, type EndedRole } from './end-access.ts';
import { askIdentityAnd, identityIn, mayBeAnother, type ServerIdentity } from './server-identity.ts';
import { insufficientPrivilege, isOfTheLease, sqlStateOf } from './upstream-error.ts';

/** One of the servers that agents can use beside the primary. */
export interface Standby {
  /** The reference to its connection URL. */
  readonly name: string;
  /** Throws ProviderRejected when the reference leads to no connection URL. */
  readonly open: () => Promise<AdminDatabase>;
}

/**
 * How long one attempt waits for standbys, in milliseconds. A standby can lag for minutes, and whoever waits has a place that the ends
 * of other leases on the primary need. Another attempt follows.
 */
const longestWaitMs = 2_000;

/** Between two looks, in milliseconds. */
const pauseMs = 10;

/**
 * Returns when the lease has ended on all of them. Throws ProviderRejected when it has not on one, whatever the reason: what a standby
 * does says nothing of the primary, so no circuit breaker may count it.
 */
export async function endOnStandbys(
  standbys: readonly Standby[],
  primary: AdminDatabase,
  role: EndedRole,
  deadline: Deadline,
): Promise<void> {
  if (standbys.length === 0) return;
  const ended = await readEnded(primary, role, deadline);
  const results = await Promise.allSettled(
    standbys.map(async ({ name, open }) => {
      try {
        await new EndOnStandby(name, await open(), role, ended, deadline).run();
      } catch (error) {
        throw atStandby(name, error);
      }
    }),
  );
  const failures = results.flatMap((result) =>
    result.status === 'rejected' ? [result.reason as Error] : [],
  );
  if (failures[0] !== undefined) throw failures[0];
}

/** What goes wrong at a standby, with its name. */
export function atStandby(name: string, error: unknown): ProviderRejected {
  if (error instanceof AtStandby) return error;
  const { reason, cause } = asProviderFailure(error);
  return new AtStandby(`the standby ${name}: ${reason}`, { cause: cause ?? error });
}

class AtStandby extends ProviderRejected {}

/** The primary, after the end of the lease there. */
interface EndedOnPrimary {
  readonly server: ServerIdentity | undefined;
  /** Absent when the role has been dropped. */
  readonly oid: string | undefined;
  /** A position in the write-ahead log after which nothing of the lease's end comes, as a number of bytes. */
  readonly position: string;
}

async function readEnded(
  primary: AdminDatabase,
  { name }: EndedRole,
  deadline: Deadline,
): Promise<EndedOnPrimary> {
  const row = merge(
    await primary.run(
      askIdentityAnd(
        `(SELECT r.oid::text FROM pg_catalog.pg_roles r WHERE r.rolname = ${pg.escapeLiteral(name)}) AS role_oid,
         (${lastRecord})::text AS position`,
      ),
      deadline,
    ),
  );
  const oid = row['role_oid'];
  return {
    server: identityIn(row),
    oid: typeof oid === 'string' ? oid : undefined,
    position: /^\d+$/.exec(String(row['position']))?.[0] ?? 'NULL',
  };
}

/**
 * Where the last record ends, also one that is not written yet: a role may have been dropped with `synchronous_commit = off`. What
 * PostgreSQL tells is where the next one will begin, which is behind the header of a page (24 or 40 bytes, `xlog_internal.h`) when the
 * last one ends with the page before; a standby does not get there until there is a next one. No record ends within the first 40 bytes
 * of a page that it does not begin before, so the beginning of the page serves for all of those.
 */
const lastRecord = `SELECT n - CASE WHEN n % b <= 40 THEN n % b ELSE 0 END
    FROM (SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') AS n,
                 pg_catalog.current_setting('wal_block_size')::numeric AS b) AS next`;

/** What a standby says of itself. */
interface Seen {
  readonly server: ServerIdentity | undefined;
  readonly isInRecovery: boolean;
  /** Undefined where there is no such role. */
  readonly canLogIn: boolean | undefined;
  readonly hasReplayed: boolean;
}

class EndOnStandby {
  constructor(
    private readonly name: string,
    private readonly database: AdminDatabase,
    private readonly role: EndedRole,
    private readonly ended: EndedOnPrimary,
    private readonly deadline: Deadline,
  ) {}

  async run(): Promise<void> {
    const { deadline, database, name } = this;
    const statements = this.#lookAndCut(await database.facts(deadline));
    const until = performance.now() + longestWaitMs;
    let failure: unknown;
    do {
      try {
        const seen = read(await this.#send(statements));
        failure = undefined;
        this.#refuseOther(seen);
        if (hasEnded(seen)) return;
      } catch (error) {
        // The right to end sessions may come with what is still to be replayed.
        if (!isOfTheLease(error) && !isMissingRight(error)) throw error;
        failure = error;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    } while (performance.now() < until && deadline.remainingMs() > statementTimeoutMs);
    throw await this.#whyNot(failure).catch((error: unknown) => atStandby(name, error));
  }

  /** What the standby has replayed is read before the role, and that before sessions are cut: nobody slips in between. */
  #lookAndCut(facts: ServerFacts): string[] {
    const { role, ended } = this;
    const knownAs = { oid: ended.oid, isDropped: ended.oid === undefined };
    const asCreator = actAsCreatorOf(role.name, facts, 'transaction');
    return [...this.#look(), ...asCreator, cutSessions(role, facts, knownAs)];
  }

  #look(): string[] {
    const replayed = `pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0') >= ${this.ended.position}`;
    return [
      `SELECT pg_catalog.pg_is_in_recovery() AS in_recovery, coalesce(${replayed}, false) AS has_replayed`,
      askIdentityAnd(
        `(SELECT r.rolcanlogin FROM pg_catalog.pg_roles r WHERE r.rolname = ${pg.escapeLiteral(this.role.name)}) AS can_log_in`,
      ),
    ];
  }

  /** Nothing is written, even where the standby has become a primary. */
  async #send(statements: readonly string[]): Promise<Record<string, unknown>> {
    const text = [
      'BEGIN READ ONLY',
      `SET LOCAL statement_timeout = ${statementTimeoutMs}`,
      ...statements,
      'COMMIT',
    ].join('\n;\n');
    return merge(await this.database.run(text, this.deadline, { ownTransactions: true, statementTimeoutMs }));
  }

  #refuseOther({ server, isInRecovery, canLogIn }: Seen): void {
    if (mayBeAnother(this.ended.server, server)) {
      throw new AtStandby(
        `the standby ${this.name} is no physical standby of the server where the lease is: its connection URL leads to another one`,
      );
    }
    if (!isInRecovery && canLogIn === true) {
      throw new AtStandby(
        `the standby ${this.name} has been promoted, and the lease can still log in there: shut it down, or end the lease there as well ` +
          'by putting its connection URL behind the reference of "admin"',
      );
    }
  }

  /** When the time is over. */
  async #whyNot(failure: unknown): Promise<ProviderRejected> {
    const seen = read(await this.#send(this.#look()));
    if (!hasEnded(seen)) {
      return new AtStandby(
        `the standby ${this.name} has not replayed the end of the lease yet: it lags, its replay is paused, or it receives nothing from ` +
          'the primary',
      );
    }
    const reason = isMissingRight(failure)
      ? `the privileged credential may not end the sessions of the lease at the standby ${this.name}`
      : `the sessions of the lease at the standby ${this.name} do not end`;
    return new AtStandby(reason, { cause: failure instanceof Error ? (failure.cause ?? failure) : failure });
  }
}

/** The role is there and locked out; or it is not, where it can't come any more. */
function hasEnded({ isInRecovery, canLogIn, hasReplayed }: Seen): boolean {
  return canLogIn === false || (canLogIn === undefined && (!isInRecovery || hasReplayed));
}

function isMissingRight(error: unknown): boolean {
  return sqlStateOf(asProviderFailure(error).cause) === insufficientPrivilege;
}

function merge(rows: readonly (readonly Record<string, unknown>[])[]): Record<string, unknown> {
  return Object.assign({}, ...rows.flat()) as Record<string, unknown>;
}

function read(row: Record<string, unknown>): Seen {
  const canLogIn = row['can_log_in'];
  return {
    server: identityIn(row),
    isInRecovery: row['in_recovery'] === true,
    canLogIn: typeof canLogIn === 'boolean' ? canLogIn : undefined,
    hasReplayed: row['has_replayed'] === true,
  };
}
