/** A database of its own for a spec, migrated, on the server that Jest's global set-up started. For specs only. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { inDatabase, migrate } from '@mayfly/postgres';
import pg from 'pg';

export interface FreshDatabase {
  readonly connectionString: string;
  readonly pool: pg.Pool;
  /** Ends the pool and drops the database. */
  drop(): Promise<void>;
}

/** Throws when `MAYFLY_TEST_POSTGRES_URL` (a superuser) is not set. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const adminUrl = process.env['MAYFLY_TEST_POSTGRES_URL'];
  if (adminUrl === undefined) throw new Error('MAYFLY_TEST_POSTGRES_URL is not set');
  const name = `policy_${randomBytes(6).toString('hex')}`;
  await asAdmin(adminUrl, `CREATE DATABASE ${name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`);
  const connectionString = inDatabase(adminUrl, name);
  const directory = fileURLToPath(new URL('../../migrations', import.meta.url));
  await migrate({ connectionString, schema: 'policy', directory });
  const pool = new pg.Pool({ connectionString, max: 20 });
  pool.on('error', () => undefined);
  return {
    connectionString,
    pool,
    async drop() {
      await pool.end();
      await asAdmin(adminUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

async function asAdmin(connectionString: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
