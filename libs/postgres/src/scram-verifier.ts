/**
 * SCRAM-SHA-256 verifiers (RFC 5802 §3, RFC 7677; the stored form is RFC 5803's): computed here, so that no server log and
 * no `pg_stat_activity` ever holds a password.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

/** What PostgreSQL itself uses, and the least that RFC 7677 §4 allows; some drivers refuse less. */
export const defaultScramIterations = 4_096;

const saltBytes = 16;
const deriveKey = promisify(pbkdf2);

/** 256 random bits in base64url: nothing that SASLprep (RFC 4013) would change. */
export function randomPassword(): string {
  return randomBytes(32).toString('base64url');
}

/**
 * What stands after `PASSWORD`: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. The work is done on libuv's
 * threads. Throws RangeError for a password that SASLprep might change.
 */
export async function scramVerifier(
  password: string,
  iterations: number = defaultScramIterations,
  salt: Uint8Array = randomBytes(saltBytes),
): Promise<string> {
  if (!/^[\x20-\x7e]+$/.test(password)) throw new RangeError('a password must be printable ASCII');
  const salted = await deriveKey(password, salt, iterations, 32, 'sha256');
  const clientKey = hmac(salted, 'Client Key');
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${Buffer.from(salt).toString('base64')}$${storedKey}:${serverKey}`;
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
