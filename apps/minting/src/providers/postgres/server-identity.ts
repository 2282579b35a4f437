/**
 * Which server it is that a reference leads to. The privileged credential is looked up at each use, so the same reference may
 * lead to another server by now, where nobody has heard of the role: that it is not there says nothing of the one where it was
 * made, and still works.
 *
 * The system identifier is made by `initdb`. Physical standbys and physical restores share it, so a failover changes nothing; two
 * that were restored from one backup can't be told apart. `pg_upgrade` and a dump make another, but bring the roles along.
 */
import { z } from 'zod';
import { ProviderRejected } from '../provider-error.ts';

export const ServerIdentity = z.object({
  /** `system_identifier` of `pg_control_system()`, a number of 64 bits in decimal. */
  system: z.string(),
  /** For whoever reads the log. Not compared: roles belong to the server, and a database may be renamed. */
  database: z.string(),
});
export type ServerIdentity = z.infer<typeof ServerIdentity>;

/**
 * Asks for the identity and for other columns, on one connection and in one round trip. In a block of its own, because PostgreSQL
 * checks the right to a function when a statement begins, whether it comes to calling it or not. A server that has no such
 * function, does not let us call it or fails at it is not identified; that is no error.
 */
export function askIdentityAnd(columns: string): string {
  return `DO $mayfly$ BEGIN
      IF has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE') THEN
        PERFORM set_config('mayfly.system_identifier',
          (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), true);
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END $mayfly$;
    SELECT nullif(current_setting('mayfly.system_identifier', true), '') AS mayfly_system,
           current_database()::text AS mayfly_database, ${columns}`;
}

/** Reads the answer; undefined when the server does not say which one it is. */
export function identityIn(row: Readonly<Record<string, unknown>> | undefined): ServerIdentity | undefined {
  const [system, database] = [row?.['mayfly_system'], row?.['mayfly_database']];
  return typeof system === 'string' ? { system, database: String(database) } : undefined;
}

/**
 * Whether a server may be another than the one where something was made. A server that does not say is taken for another when it
 * did say at the mint (closed: the end is tried again). Handles that don't tell where are believed everywhere.
 */
export function mayBeAnother(
  madeAt: ServerIdentity | undefined,
  reached: ServerIdentity | undefined,
): boolean {
  return madeAt !== undefined && madeAt.system !== reached?.system;
}

/** For what is looked for at a server that may be another. The sentence is for whoever operates Mayfly; the cause is only logged. */
export function atAnotherServer(
  madeAt: ServerIdentity | undefined,
  reached: ServerIdentity | undefined,
): ProviderRejected {
  return new ProviderRejected(
    "another server answers under the integration's reference than the one where the lease was made: " +
      'put the reference back until its leases have ended, or end them at the old server',
    { cause: new Error(`made at ${describe(madeAt)}, looked for at ${describe(reached)}`) },
  );
}

function describe(server: ServerIdentity | undefined): string {
  if (server === undefined) return 'a server that does not say which one it is';
  return `the server with system identifier ${server.system}, database ${JSON.stringify(server.database)}`;
}
