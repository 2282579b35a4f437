/**
 * Sets up one database for several services, so that none can read another's tables: each has a login role that owns
 * its schema and nothing else. Auditors get a role that may enter the audit schema; what it may read there is granted
 * by the audit service, on its own views.
 */
import pg from 'pg';
import { inDatabase } from './connection-string.ts';
import { quoteName, quoteText } from './quoting.ts';
import { scramVerifier } from './scram-verifier.ts';

/** The role of people who read the audit views. */
export const auditorRole = 'mayfly_auditor';

export interface ServiceDatabase {
  /** Created (UTF-8, collation C) if it does not exist. */
  readonly database: string;
  readonly services: readonly ServiceRole[];
  /** What auditors may enter; left out when no audit service is set up here. */
  readonly auditor?: {
    /** Schema of the audit service: `audit`. */
    readonly schema: string;
    /** With one, the role may log in. Without one, a new role may not, and an existing one stays as it is. */
    readonly password?: string;
  };
}

export interface ServiceRole {
  /** Owned by `role`; also its search path. */
  readonly schema: string;
  readonly role: string;
  /** Printable ASCII. Sent to Postgres as a SCRAM verifier only. */
  readonly password: string;
}

/**
 * Brings the database to the described state, from any earlier one; safe to run again and from several processes at
 * once. Existing passwords are replaced by the given ones. Roles and schemas that are not named are not touched.
 *
 * @param adminConnectionString of a superuser, in any existing database of the server (`postgres`).
 */
export async function ensureServiceDatabase(
  adminConnectionString: string,
  settings: ServiceDatabase,
): Promise<void> {
  await withClient(adminConnectionString, async (admin) => {
    await admin.query('SELECT pg_advisory_lock($1)', [setupLock]);
    await createDatabase(admin, settings.database);
    for (const { role, password } of settings.services) await ensureLoginRole(admin, role, password);
    if (settings.auditor !== undefined) await ensureAuditor(admin, settings.auditor.password);
    await withClient(inDatabase(adminConnectionString, settings.database), async (client) => {
      await client.query('BEGIN');
      for (const statement of accessStatements(settings)) await client.query(statement);
      await client.query('COMMIT');
    });
  });
}

/**
 * The statements, to be run by a superuser inside the database after its roles exist, that give each service its
 * schema and take everything else from everybody.
 */
export function accessStatements({ database, services, auditor }: ServiceDatabase): string[] {
  const db = quoteName(database);
  return [
    // By default everybody may connect, and make temporary tables.
    `REVOKE ALL ON DATABASE ${db} FROM PUBLIC`,
    'REVOKE ALL ON SCHEMA public FROM PUBLIC',
    ...services.flatMap((service) => {
      const role = quoteName(service.role);
      const schema = quoteName(service.schema);
      return [
        `GRANT CONNECT ON DATABASE ${db} TO ${role}`,
        `CREATE SCHEMA IF NOT EXISTS ${schema} AUTHORIZATION ${role}`,
        `ALTER SCHEMA ${schema} OWNER TO ${role}`,
        `REVOKE ALL ON SCHEMA ${schema} FROM PUBLIC`,
        // By default everybody may call a new function, and whoever enters the schema finds it.
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${role} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`,
        `ALTER ROLE ${role} IN DATABASE ${db} SET search_path = ${schema}`,
      ];
    }),
    ...(auditor === undefined
      ? []
      : [
          `GRANT CONNECT ON DATABASE ${db} TO ${quoteName(auditorRole)}`,
          `GRANT USAGE ON SCHEMA ${quoteName(auditor.schema)} TO ${quoteName(auditorRole)}`,
          `ALTER ROLE ${quoteName(auditorRole)} IN DATABASE ${db} SET search_path = ${quoteName(auditor.schema)}`,
        ]),
  ];
}

/** Random, but the same for all who set up. */
const setupLock = '5178203316045921';

const noPowers = 'NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS';

async function createDatabase(admin: pg.Client, database: string): Promise<void> {
  const { rowCount } = await admin.query('SELECT FROM pg_database WHERE datname = $1', [database]);
  if (rowCount !== 0) return;
  // Byte order: indexes stay valid whatever the system's libc does, and keyset paging means the same everywhere.
  await admin.query(`CREATE DATABASE ${quoteName(database)} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'`);
}

async function ensureLoginRole(admin: pg.Client, role: string, password: string): Promise<void> {
  const verifier = quoteText(await scramVerifier(password));
  await createRole(admin, role);
  await admin.query(`ALTER ROLE ${quoteName(role)} LOGIN ${noPowers} PASSWORD ${verifier}`);
}

async function ensureAuditor(admin: pg.Client, password: string | undefined): Promise<void> {
  if (password !== undefined) return ensureLoginRole(admin, auditorRole, password);
  await createRole(admin, auditorRole);
}

async function createRole(admin: pg.Client, role: string): Promise<void> {
  const { rowCount } = await admin.query('SELECT FROM pg_roles WHERE rolname = $1', [role]);
  if (rowCount === 0) await admin.query(`CREATE ROLE ${quoteName(role)} NOLOGIN ${noPowers}`);
}

async function withClient(connectionString: string, fn: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({
    connectionString,
    application_name: 'mayfly-setup',
    connectionTimeoutMillis: 10_000,
    statement_timeout: 60_000,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await fn(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
