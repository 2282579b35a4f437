/** The database of the second organization, on the same server as the first one's: neither may get into the other's. */
import { connectionStringFor, quoteName, quoteText, scramVerifier } from '@mayfly/postgres';
import pg from 'pg';

const database = 'globex';
const adminRole = 'globex_admin';

/** Makes the database, one table `ledger` and its administrator, if they are not there yet; gives that one's URL. */
export async function prepareGlobexDatabase(superuserUrl: string, password: string): Promise<string> {
  await withClient(superuserUrl, async (client) => {
    const verifier = quoteText(await scramVerifier(password));
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [adminRole]);
    await client.query(
      `${rowCount === 0 ? 'CREATE' : 'ALTER'} ROLE ${quoteName(adminRole)} LOGIN CREATEROLE NOSUPERUSER PASSWORD ${verifier}`,
    );
    const existing = await client.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (existing.rowCount === 0)
      await client.query(`CREATE DATABASE ${quoteName(database)} OWNER ${quoteName(adminRole)}`);
    // PostgreSQL lets every role into every database unless told otherwise.
    await client.query(`REVOKE CONNECT ON DATABASE ${quoteName(database)} FROM PUBLIC`);
  });
  const adminUrl = connectionStringFor(superuserUrl, { role: adminRole, password, database });
  await withClient(adminUrl, async (client) => {
    await client.query(`
      CREATE TABLE IF NOT EXISTS public.ledger (id int PRIMARY KEY, entry text NOT NULL);
      INSERT INTO public.ledger VALUES (1, 'opening balance') ON CONFLICT DO NOTHING`);
  });
  return adminUrl;
}

async function withClient(url: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
