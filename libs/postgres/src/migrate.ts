/**
 * Schema migrations: plain SQL files, `0001_init.sql`, run in order, each once. They live in `apps/<service>/migrations`,
 * outside `src`, so that they are found at the same place before and after a build.
 */
import { createHash } from 'node:crypto';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import { asDependencyError } from './dependency-error.ts';
import { quoteName } from './quoting.ts';

export interface MigrationSettings {
  readonly connectionString: string;
  /** Where unqualified names of the migrations live, and where `migrations`, the table of those that ran, is kept. */
  readonly schema: string;
  /** Absolute path of the folder with the `.sql` files; other files in it are ignored. */
  readonly directory: string;
  /** Who is to own what is made, if not the role that connects (which must then be a member of it). */
  readonly role?: string;
  /** How long to wait for another replica that migrates, and for any lock of a statement. 60,000 unless told. */
  readonly lockTimeoutMs?: number;
}

/**
 * Brings the schema up to date and gives back the names of the migrations that ran now. All of them run in one
 * transaction: either the schema is up to date afterwards, or it is unchanged. Replicas may race: one migrates, the
 * others wait and then find nothing to do. The schema is created where it is missing and the role may.
 *
 * A schema that has more than the folder, and the folder's first, is left as it is: a replica of the version before may still
 * start while a newer one has migrated already.
 *
 * @throws MayflyError dependency_unavailable when Postgres is away; Error naming what is wrong otherwise, also when
 * other migrations ran than the first of the folder, or one was put before them.
 */
export async function migrate(settings: MigrationSettings): Promise<string[]> {
  const { connectionString, schema, directory, role, lockTimeoutMs = 60_000 } = settings;
  const client = new pg.Client({
    connectionString,
    application_name: `mayfly-migrate-${schema}`,
    connectionTimeoutMillis: 10_000,
    lock_timeout: lockTimeoutMs,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    if (role !== undefined) await client.query(`SET ROLE ${quoteName(role)}`);
    await client.query('SELECT pg_advisory_lock($1)', [lockOf(schema)]);
    await ensureSchema(client, schema);
    const ran = await runner({
      dbClient: client,
      dir: directory,
      ignorePattern: String.raw`(?!.*\.sql$).*`,
      direction: 'up',
      schema,
      migrationsSchema: schema,
      migrationsTable: 'migrations',
      singleTransaction: true,
      checkOrder: true,
      noLock: true,
      logger: silent,
    });
    return ran.map(({ name }) => name);
  } catch (error) {
    throw asDependencyError(explainOtherMigrations(error, schema));
  } finally {
    // Ends the session, and with it the lock.
    await client.end().catch(() => undefined);
  }
}

/** `CREATE SCHEMA IF NOT EXISTS` demands the right to create even where the schema exists, so ask first. */
async function ensureSchema(client: pg.Client, schema: string): Promise<void> {
  const { rowCount } = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', [schema]);
  if (rowCount === 0) await client.query(`CREATE SCHEMA ${quoteName(schema)}`);
}

/** Whoever starts a newer checkout on the data of an older one meets this first, so the error says what to do. */
function explainOtherMigrations(error: unknown, schema: string): unknown {
  const names = error instanceof Error ? otherMigrations.exec(error.message)?.groups : undefined;
  if (names === undefined) return error;
  return new Error(
    `The schema ${schema} was made by another version of Mayfly: it has ${names['ran']} where this version has ` +
      `${names['expected']}. Start the version that made it; or, if it is a development database that may be lost, stop ` +
      'Mayfly, delete the folder .mayfly (or the one that MAYFLY_DATA_DIR names) and start again.',
    { cause: error },
  );
}

/** How node-pg-migrate reports it. */
const otherMigrations = /^Not run migration (?<expected>\S+) is preceding already run migration (?<ran>\S+)$/;

/** One lock per schema: services that share a database migrate at the same time. */
function lockOf(schema: string): string {
  return createHash('sha256').update(`mayfly migrations of ${schema}`).digest().readBigInt64BE().toString();
}

/** node-pg-migrate prints whole statements; the error that it throws is enough. */
const silent = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};
