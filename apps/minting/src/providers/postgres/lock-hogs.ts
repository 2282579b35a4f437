/**
 * Cuts the sessions of leases that have taken the locks of the whole server. Any login may take all that a server has room for, by
 * advisory locks, and from then on no statement succeeds that needs another one.
 *
 * It needs a few locks itself, which `lock-reserve.ts` holds. Whoever takes locks in a loop takes those as well as soon as
 * they are let go, so there is as little as can be between that and the cut.
 */
import type { ServerFacts } from './admin-database.ts';
import { firstCreatorOf } from './creator-roles.ts';
import { asMember } from './lock-holders.ts';
import { groupRolePattern, loginRolePattern } from './role-names.ts';
import { doBlock } from './sql-text.ts';

/**
 * Who has no more than so many cannot be why others have none, not even together with as many others as there can be: a quarter of what
 * the server has room for by each.
 */
const fewLocks = "pg_catalog.current_setting('max_locks_per_transaction')::int / 4";

/** How much of what is held is freed, the greatest holders first: one part in so many. */
const freedPart = 4;

/** How long it is waited until they are gone and their locks with them. Milliseconds. */
const goneWithinMs = 500;

const freeReserve = 'PERFORM pg_catalog.pg_advisory_unlock_all();';

/** What follows reads roles and memberships, whoever may not do everything even to call a function: from here on this transaction has their locks. */
const keepRoles = `PERFORM FROM pg_catalog.pg_roles LIMIT 0;
    PERFORM FROM pg_catalog.pg_auth_members LIMIT 0;`;

const findHogs = `SELECT pg_catalog.array_agg(h.pid ORDER BY h.held DESC), pg_catalog.array_agg(h.held ORDER BY h.held DESC),
        pg_catalog.sum(h.held) / ${freedPart}
      INTO pids, held, enough
      FROM (SELECT l.pid, pg_catalog.count(*) AS held FROM pg_catalog.pg_lock_status() AS l GROUP BY l.pid) h
     WHERE h.held > ${fewLocks} AND h.pid <> pg_catalog.pg_backend_pid();`;

/** Frees the advisory locks of this session and cuts those who have the most. One statement, which succeeds in any case. */
export function cutLockHogs(facts: ServerFacts): string {
  return doBlock(`DECLARE
    pids int[];
    held bigint[];
    enough bigint;
    freed bigint := 0;
    cut int[] := '{}';
    lease text;
    begun timestamptz := pg_catalog.clock_timestamp();
  BEGIN
    ${facts.superuser ? `${findHogs} ${freeReserve}` : `${freeReserve} ${keepRoles} ${findHogs}`}
    FOR i IN 1..coalesce(pg_catalog.cardinality(pids), 0) LOOP
      EXIT WHEN freed >= enough;
      lease := (SELECT pg_catalog.pg_get_userbyid(a.usesysid) FROM pg_catalog.pg_stat_get_activity(pids[i]) AS a);
      CONTINUE WHEN lease IS NULL OR lease !~ '${loginRolePattern}';
      ${cutOne(facts)}
    END LOOP;
    WHILE pg_catalog.clock_timestamp() < begun + interval '${goneWithinMs} milliseconds' LOOP
      EXIT WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(NULL) AS a WHERE a.pid = ANY (cut));
      PERFORM pg_catalog.pg_sleep(0.005);
      PERFORM pg_catalog.pg_stat_clear_snapshot();
    END LOOP;
  EXCEPTION WHEN OTHERS THEN NULL;
  END`);
}

/** A transaction that a lease has prepared for a two-phase commit, and that holds many locks. */
export interface PreparedHog {
  readonly gid: string;
  readonly owner: string;
  /** Where it was prepared. */
  readonly database: string;
}

/**
 * Lists them, those with the most locks first. They have no session that could be cut; the lock on its own transaction id tells which of
 * the locks without a session are whose. A lease may have prepared one as its group (PostgreSQL 13 to 15), which nobody else is.
 */
export const listPreparedHogs = `SELECT p.gid, pg_catalog.pg_get_userbyid(p.ownerid)::text AS owner,
       (SELECT datname::text FROM pg_catalog.pg_database WHERE oid = p.dbid) AS database
  FROM (SELECT l.virtualtransaction, pg_catalog.count(*) AS held,
               pg_catalog.max(l.transactionid::text) FILTER (WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock') AS xid
          FROM pg_catalog.pg_lock_status() AS l WHERE l.pid IS NULL GROUP BY l.virtualtransaction) h
  JOIN pg_catalog.pg_prepared_xact() AS p ON p.transaction::text = h.xid
 WHERE h.held > ${fewLocks} AND pg_catalog.pg_get_userbyid(p.ownerid)::text ~ '${loginRolePattern}|${groupRolePattern}'
 ORDER BY h.held DESC`;

/**
 * What gives a privileged role that is no superuser the right to cut sessions without a grant at that moment, which takes locks. From
 * PostgreSQL 16 on the creator roles have it (`createrole_self_grant`). Before, whoever has CREATEROLE may be a member of
 * `pg_signal_backend`. One statement, which succeeds in any case.
 */
export const prepareToCut = doBlock(`BEGIN
    IF pg_catalog.current_setting('server_version_num')::int < 160000
       AND NOT pg_catalog.pg_has_role('pg_signal_backend', 'MEMBER') THEN
      GRANT pg_signal_backend TO CURRENT_USER;
    END IF;
  EXCEPTION WHEN OTHERS THEN NULL;
  END`);

/** Cuts the session of `pids[i]`, whose role is `lease`: by a right that is there, if possible. */
function cutOne(facts: ServerFacts): string {
  const cut = `IF pg_catalog.pg_terminate_backend(pids[i]) THEN cut := cut || pids[i]; freed := freed + held[i]; END IF;`;
  if (facts.superuser) return cut;
  const creator = firstCreatorOf('lease', facts);
  return `BEGIN
        ${creator === undefined ? '' : `PERFORM pg_catalog.set_config('role', ${creator}, true);`}
        ${cut}
      EXCEPTION WHEN OTHERS THEN
        ${asMember('lease', facts, cut)}
      END;`;
}
