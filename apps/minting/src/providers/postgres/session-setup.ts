/**
 * How every session of the privileged role is set up before its first statement.
 *
 * Names and operators are looked up in `pg_catalog` alone. Where anybody may create things in a schema of the search path (`public`,
 * up to PostgreSQL 14), a lease could otherwise make an operator that our own statements then call with all the rights of the
 * privileged role. It is a SET, and not a start-up parameter, because the options of the connection URL, and what ALTER ROLE and
 * ALTER DATABASE set, come after those or in their place. `pg_temp` goes last, or it would be first (CREATE FUNCTION, "Writing
 * SECURITY DEFINER functions safely").
 */
const ownPath = 'SET search_path = pg_catalog, pg_temp';

export const sessionSetup = [
  ownPath,
  'SET standard_conforming_strings = on',
  // Warnings are not read; GRANTs are looked at by what they did.
  'SET client_min_messages = error',
  // Who makes a role may then end its sessions, without a grant that takes locks when there may be none left (PostgreSQL 16).
  `SELECT pg_catalog.set_config('createrole_self_grant', 'set, inherit', false)
    WHERE pg_catalog.current_setting('server_version_num')::int >= 160000`,
].join(';\n');

/** Puts a session back to how it was set up, whatever was run in it: each a message of its own, because DISCARD ALL must be. */
export const sessionReset = ['ROLLBACK', 'DISCARD ALL', sessionSetup] as const;

/** Custom statements name the customer's things, so they find them by the customer's search path. */
export function withCustomersPath(statements: readonly string[]): string[] {
  return ['SET search_path TO DEFAULT', ...statements, ownPath];
}
