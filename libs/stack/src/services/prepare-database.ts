/** The database of Mayfly: one schema and one role per service, and the auditor's role. */
import { join } from 'node:path';
import { auditorRole, connectionStringFor, ensureServiceDatabase } from '@mayfly/postgres';
import { databaseServices, type DatabaseService } from '../service-environment.ts';
import { servicePasswords } from './service-passwords.ts';

/** URLs of the roles. Secret: they carry passwords. */
export interface DatabaseUrls {
  readonly services: Readonly<Record<DatabaseService, string>>;
  readonly auditor: string;
  /** The administrator, in Mayfly's database. */
  readonly admin: string;
}

/** Sets the database up, whatever is there already. */
export async function prepareDatabase(
  adminUrl: string,
  database: string,
  dataDirectory: string,
): Promise<DatabaseUrls> {
  const passwords = await servicePasswords(join(dataDirectory, 'private', 'postgres-roles.json'));
  await ensureServiceDatabase(adminUrl, {
    database,
    services: databaseServices.map((service) => ({
      schema: service,
      role: roleOf(service),
      password: passwords[service],
    })),
    auditor: { schema: 'audit', password: passwords.auditor },
  });
  const urlOf = (role: string, password: string): string =>
    connectionStringFor(adminUrl, { role, password, database });
  const admin = new URL(adminUrl);
  admin.pathname = `/${encodeURIComponent(database)}`;
  return {
    services: {
      policy: urlOf(roleOf('policy'), passwords.policy),
      revocation: urlOf(roleOf('revocation'), passwords.revocation),
      audit: urlOf(roleOf('audit'), passwords.audit),
    },
    auditor: urlOf(auditorRole, passwords.auditor),
    admin: admin.href,
  };
}

function roleOf(service: DatabaseService): string {
  return `mayfly_${service}`;
}
