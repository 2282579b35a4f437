/** The passwords of the services' own Postgres roles: made once per data folder. */
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { readOrMakeSecretFile } from '../keys/key-files.ts';

const rolesWithPassword = ['policy', 'revocation', 'audit', 'auditor'] as const;
const passwordsSchema = z.record(z.enum(rolesWithPassword), z.string().min(32));

/** Password by role, without the prefix `mayfly_`. Secret. */
export type ServicePasswords = z.infer<typeof passwordsSchema>;

/** Reads the passwords from a 0600 file, making it when it is missing. @throws Error when the file is not what it should be */
export async function servicePasswords(path: string): Promise<ServicePasswords> {
  const text = await readOrMakeSecretFile(path, () =>
    JSON.stringify(
      Object.fromEntries(rolesWithPassword.map((role) => [role, randomBytes(24).toString('base64url')])),
    ),
  );
  try {
    return passwordsSchema.parse(JSON.parse(text));
  } catch {
    throw new Error(`${path} does not hold the passwords of the service roles; remove it to make new ones.`);
  }
}
