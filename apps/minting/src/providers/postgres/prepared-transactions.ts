/**
 * Transactions that a role has prepared for a two-phase commit: they keep their locks, and what they did can still be committed, when
 * every session of the role is gone (PostgreSQL documentation, PREPARE TRANSACTION).
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import type { AdminDatabase } from './admin-database.ts';
import { sqlStateOf, undefinedObject } from './upstream-error.ts';

interface PreparedTransaction {
  readonly gid: string;
  readonly owner: string;
  readonly database: string;
}

/** Of each statement here, in milliseconds. */
const statementTimeoutMs = 2_000;

/**
 * Rolls back what the owners have prepared, each from the database where that was done: no other may. Only its owner or a superuser
 * may either, so the privileged role acts as the owner, for which it must be a member of it. Throws ProviderRejected or
 * ProviderUnavailable.
 */
export async function rollBackPrepared(
  database: AdminDatabase,
  owners: readonly string[],
  openOther: (database: string) => AdminDatabase,
  deadline: Deadline,
): Promise<void> {
  const [rows = []] = await database.run(
    `SELECT p.gid, p.owner::text AS owner, p.database::text AS database
       FROM pg_catalog.pg_prepared_xacts p WHERE p.owner::text = ANY ($1::text[])`,
    deadline,
    { values: [owners], statementTimeoutMs },
  );
  const { superuser } = await database.facts(deadline);
  for (const { gid, owner, database: where } of rows as unknown as readonly PreparedTransaction[]) {
    const there = where === database.database ? database : openOther(where);
    const asOwner = superuser ? [] : [`SET ROLE ${pg.escapeIdentifier(owner)}`];
    try {
      // One statement a message: it can't run in a transaction block, which several in one message are.
      await there.runEach([...asOwner, `ROLLBACK PREPARED ${pg.escapeLiteral(gid)}`], deadline, {
        statementTimeoutMs,
      });
    } catch (error) {
      // Somebody else rolled it back meanwhile.
      if (sqlStateOf((error as Error).cause) !== undefinedObject) throw error;
    }
  }
}
