/** What auditors may know of a secret. */
import { createHash } from 'node:crypto';
import type { Fingerprint } from '@mayfly/contracts';

/** SHA-256 of the secret's UTF-8 bytes, hex, under the name of its part (`password`, `token`). */
export function fingerprint(part: string, secret: string): Fingerprint {
  return { part, sha256: createHash('sha256').update(secret, 'utf8').digest('hex') };
}
