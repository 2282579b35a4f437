/** One statement outside a transaction, or inside one: what every store function runs on. */
import { asDependencyError } from '@mayfly/postgres';
import type { Pool, PoolClient, QueryConfig, QueryResultRow } from 'pg';

/** A pool for a single statement, a client for one that is part of a transaction. */
export type Database = Pool | PoolClient;

/** The rows. Throws `dependency_unavailable` when Postgres is away. */
export async function rowsOf<Row extends QueryResultRow>(
  database: Database,
  statement: QueryConfig,
): Promise<Row[]> {
  try {
    return (await database.query<Row>(statement)).rows;
  } catch (error) {
    throw asDependencyError(error);
  }
}
