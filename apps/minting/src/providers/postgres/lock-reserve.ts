/**
 * The locks that the connection kept for ends holds in reserve, for when leases have taken all that the server has room for. They are
 * advisory locks of that session, under keys that anybody can tell from other locks (`pg_locks.classid` is `reserveClass`).
 *
 * The server's table of locks is the customer's, and every replica of minting keeps a connection for each database. So what all of them
 * hold together is counted before any is taken, and never grows beyond a small part of the table, however many of them there are.
 */
import { loginRolePattern } from './role-names.ts';
import { doBlock } from './sql-text.ts';

/** The first of the two keys of each lock in reserve: "mayf", so that nobody else uses the same by chance. */
export const reserveClass = 0x6d617966;

/** All that is held in reserve at one server is at most one part in so many of its table of locks. */
export const reservedPart = 16;

/** One connection takes at most one part in so many of what is left of that, so that there is some for those that come later. */
const sharePart = 2;

/**
 * What one connection holds at most, and at least while that fits. Cutting sessions takes a dozen; the rest is a head start on those who
 * take each lock that comes free.
 */
export const largestReserve = 256;
const smallestReserve = 32;

/**
 * Takes what this session lacks of its share, as one statement: nothing, when it holds it already. What leases take under the same keys
 * is not counted, or they could keep Mayfly from having any. Fails with `out_of_memory` where the server has no more; what it got until
 * then it keeps.
 *
 * Sessions that count at the same moment may each take what is there for one of them.
 */
export const takeReserve = doBlock(`DECLARE
    room bigint := pg_catalog.current_setting('max_locks_per_transaction')::bigint
      * (pg_catalog.current_setting('max_connections')::bigint + pg_catalog.current_setting('max_prepared_transactions')::bigint);
    mine bigint;
    of_others bigint;
    left_over bigint;
    lacking bigint;
  BEGIN
    SELECT pg_catalog.count(*) FILTER (WHERE l.pid = pg_catalog.pg_backend_pid()),
           pg_catalog.count(*) FILTER (WHERE l.pid <> pg_catalog.pg_backend_pid()
             AND pg_catalog.pg_get_userbyid(a.usesysid) !~ '${loginRolePattern}')
      INTO mine, of_others
      FROM pg_catalog.pg_lock_status() AS l JOIN pg_catalog.pg_stat_get_activity(NULL) AS a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.classid = ${reserveClass}::oid AND l.objsubid = 2;
    left_over := room / ${reservedPart} - of_others;
    lacking := least(left_over, ${largestReserve}, greatest(${smallestReserve}, left_over / ${sharePart})) - mine;
    PERFORM pg_catalog.pg_try_advisory_lock(${reserveClass}, (pg_catalog.random() * 4294967295 - 2147483648)::int)
       FROM pg_catalog.generate_series(1, lacking);
  END`);
