/**
 * Step `database`: Mayfly's database with a role and a schema per service, and for each service a file with its own
 * connection. The file is also where the role's password is kept, so a new one is written before Postgres hears of it.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectionStringFor, ensureServiceDatabase } from '@mayfly/postgres';
import { databaseServices, type DatabaseService } from '@mayfly/stack';
import { readSecretFile, writePrivateFile } from './files.ts';
import type { DatabaseStep } from './settings.ts';

/** The one variable in a service's `postgres.env`, for `node --env-file`. */
export const connectionVariable = 'MAYFLY_POSTGRES_URL';

/** The file of a service's connection, below the database folder. */
export function connectionFile(service: DatabaseService): string {
  return join(service, 'postgres.env');
}

/** Brings the database to what the services need, from any earlier state. @throws Error in one sentence, without secrets */
export async function prepareServiceDatabase(
  settings: DatabaseStep,
  tell: (line: string) => void,
): Promise<void> {
  const { MAYFLY_ADMIN_POSTGRES_URL: adminUrl, MAYFLY_DATABASE: database } = settings;
  const services = databaseServices.map((service) => {
    const path = join(settings.MAYFLY_DATABASE_FOLDER, connectionFile(service));
    const role = `mayfly_${service}`;
    const known = existsSync(path) ? passwordIn(path) : undefined;
    const password = known ?? randomBytes(24).toString('base64url');
    const connection = `${connectionVariable}=${connectionStringFor(adminUrl, { role, password, database })}\n`;
    if (known === undefined) writePrivateFile(path, connection);
    return { path, connection, role: { schema: service, role, password } };
  });
  const auditorPassword = settings.MAYFLY_AUDITOR_PASSWORD_FILE;
  await ensureServiceDatabase(withPassword(adminUrl, readSecretFile(settings.MAYFLY_ADMIN_PASSWORD_FILE)), {
    database,
    services: services.map(({ role }) => role),
    auditor: {
      schema: 'audit',
      ...(auditorPassword === undefined ? {} : { password: readSecretFile(auditorPassword) }),
    },
  });
  tell(
    `The database ${database} has the schemas ${databaseServices.join(', ')}, each with a role of its own.`,
  );
}

function passwordIn(path: string): string {
  const [, value = ''] = new RegExp(`^${connectionVariable}=(.+)$`, 'm').exec(readSecretFile(path)) ?? [];
  const password = URL.canParse(value) ? decodeURIComponent(new URL(value).password) : '';
  if (password === '') throw new Error(`${path} holds no connection; remove it to get a new password.`);
  return password;
}

function withPassword(connectionString: string, password: string): string {
  const url = new URL(connectionString);
  url.password = encodeURIComponent(password);
  return url.href;
}
