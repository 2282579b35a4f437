/**
 * SCRAM-SHA-256 verifiers (RFC 5803, RFC 7677), computed here so that Postgres never sees a password: not in its log,
 * not in `pg_stat_activity`, not in `pg_stat_statements`.
 */
import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';

/** What Postgres itself uses (`scram_iterations`), and the least that RFC 7677 §4 allows. */
const defaultIterations = 4_096;

/**
 * What to write after `PASSWORD`: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. A verifier is no
 * password, but lets its holder guess one: treat it as a secret.
 *
 * @throws Error when the password is empty or not printable ASCII, on which SASLprep (RFC 4013) has no effect.
 */
export async function scramVerifier(password: string, iterations = defaultIterations): Promise<string> {
  if (!/^[\x20-\x7e]+$/.test(password)) throw new Error('a password must be printable ASCII and not empty');
  const salt = randomBytes(16);
  const salted = await promisify(pbkdf2)(password, salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}
