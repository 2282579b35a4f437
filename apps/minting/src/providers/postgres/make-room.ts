/**
 * Makes room in a server's table of locks that leases have filled, from the connection that is kept for ends: lets the locks in reserve go,
 * cuts the sessions of the leases that hold the most, and rolls back what leases have prepared for a two-phase commit that holds many.
 */
import pg from 'pg';
import type { ServerFacts } from './admin-database.ts';
import type { AdminConnections } from './connecting/admin-connections.ts';
import { actAsCreatorOf, grantMembership } from './creator-roles.ts';
import { cutLockHogs, listPreparedHogs, type PreparedHog } from './lock-hogs.ts';

export interface FullServer {
  /** Undefined while they are not known: then the locks in reserve are let go, and nobody is cut. */
  readonly facts: ServerFacts | undefined;
  /** The database that the connection is one to. */
  readonly database: string;
  /** Connections to another database of the server, which are ended after their use. */
  openOther(database: string): Pick<AdminConnections, 'connect' | 'end'>;
}

/** Does what can be done; throws nothing. What it could not do shows in the statement that is run next. */
export async function makeRoom(client: pg.ClientBase, server: FullServer): Promise<void> {
  try {
    if (server.facts === undefined)
      return void (await client.query('SELECT pg_catalog.pg_advisory_unlock_all()'));
    await client.query(cutLockHogs(server.facts));
    const { rows } = await client.query<PreparedHog>(listPreparedHogs);
    for (const hog of rows) await rollBackWhereItIs(client, hog, server, server.facts);
  } catch {
    // Told by the next statement.
  }
}

/** Only from the database where it was prepared. */
async function rollBackWhereItIs(
  client: pg.ClientBase,
  hog: PreparedHog,
  server: FullServer,
  facts: ServerFacts,
): Promise<void> {
  if (hog.database === server.database) return rollBack(client, hog, facts);
  const connections = server.openOther(hog.database);
  try {
    const there = await connections.connect();
    await rollBack(there, hog, facts);
    there.release(true);
  } catch {
    // The database lets nobody in. The next one may.
  } finally {
    await connections.end();
  }
}

/** Only its owner and superusers may. A membership that is left behind goes with the role. */
async function rollBack(
  client: pg.ClientBase,
  { gid, owner }: PreparedHog,
  facts: ServerFacts,
): Promise<void> {
  const role = pg.escapeIdentifier(owner);
  const becomeOwner = facts.superuser
    ? []
    : [
        ...actAsCreatorOf(owner, facts, 'session'),
        ...grantMembership('SESSION_USER', role, facts),
        'RESET ROLE',
        `SET ROLE ${role}`,
      ];
  try {
    // One statement a message: it can't run in a transaction block, which several in one message are.
    for (const text of [...becomeOwner, `ROLLBACK PREPARED ${pg.escapeLiteral(gid)}`])
      await client.query(text);
  } catch {
    // Somebody else rolled it back meanwhile, or nobody may.
  } finally {
    if (!facts.superuser) await client.query('RESET ROLE');
  }
}
