/** A database with real rows to ask credentials for, and the role that Mayfly makes them with. */
import { connectionStringFor, quoteName, quoteText, scramVerifier } from '@mayfly/postgres';
import pg from 'pg';

/** The database of the example configuration's integration `orders-db`. */
export const ORDERS_DATABASE = 'orders';
const adminRole = 'orders_admin';

const customers = ['Ada', 'Barbara', 'Grace', 'Katherine', 'Margaret'];

/**
 * Makes the database, its rows and its administrator if they are not there yet, and gives that administrator's URL. It may
 * create roles and grants, and is no superuser: as it should be in production.
 */
export async function prepareOrdersDatabase(superuserUrl: string, password: string): Promise<string> {
  await withClient(superuserUrl, async (client) => {
    const verifier = quoteText(await scramVerifier(password));
    const { rowCount } = await client.query('SELECT FROM pg_roles WHERE rolname = $1', [adminRole]);
    const verb = rowCount === 0 ? 'CREATE' : 'ALTER';
    await client.query(
      `${verb} ROLE ${quoteName(adminRole)} LOGIN CREATEROLE NOSUPERUSER PASSWORD ${verifier}`,
    );
    const existing = await client.query('SELECT FROM pg_database WHERE datname = $1', [ORDERS_DATABASE]);
    if (existing.rowCount === 0) {
      await client.query(`CREATE DATABASE ${quoteName(ORDERS_DATABASE)} OWNER ${quoteName(adminRole)}`);
    }
  });
  const adminUrl = connectionStringFor(superuserUrl, {
    role: adminRole,
    password,
    database: ORDERS_DATABASE,
  });
  await withClient(adminUrl, async (client) => {
    await client.query(`
      BEGIN;
      CREATE TABLE IF NOT EXISTS public.customers (id int PRIMARY KEY, name text NOT NULL);
      CREATE TABLE IF NOT EXISTS public.orders (
        id int PRIMARY KEY,
        customer_id int NOT NULL REFERENCES public.customers,
        item text NOT NULL,
        cents int NOT NULL CHECK (cents > 0)
      );
      INSERT INTO public.customers
        SELECT n, (ARRAY[${customers.map(quoteText).join(', ')}])[n] FROM generate_series(1, ${customers.length}) n
        ON CONFLICT DO NOTHING;
      INSERT INTO public.orders
        SELECT n, 1 + n % ${customers.length}, 'item ' || n, 100 * n FROM generate_series(1, 50) n
        ON CONFLICT DO NOTHING;
      COMMIT`);
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
