/** For the specs of this library alone: fresh keys, as files in a folder of their own. Not exported. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';

/** A private signing key with `kid`. */
export async function newSigningJwk(kid: string, alg: 'EdDSA' | 'ES256' = 'EdDSA'): Promise<JWK> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg, use: 'sig' };
}

/** A private X25519 (or P-256) key with `kid`. */
export async function newSealingJwk(kid: string, crv: 'X25519' | 'P-256' = 'X25519'): Promise<JWK> {
  const { privateKey } = await generateKeyPair('ECDH-ES', { crv, extractable: true });
  return { ...(await exportJWK(privateKey)), kid, alg: 'ECDH-ES', use: 'enc' };
}

/** A 256-bit secret key with `kid`. */
export function newSecretJwk(kid: string): JWK {
  return { kty: 'oct', k: randomBytes(32).toString('base64url'), kid };
}

export function publicPartOf(jwk: JWK): JWK {
  return without(jwk, 'd');
}

export interface KeyFolder {
  /** Writes a JWK Set and answers its path. */
  write(name: string, keys: readonly JWK[], mode?: number): Promise<string>;
  remove(): Promise<void>;
}

export async function newKeyFolder(): Promise<KeyFolder> {
  const folder = await mkdtemp(join(tmpdir(), 'mayfly-keys-'));
  return {
    async write(name, keys, mode = 0o600) {
      const path = join(folder, name);
      // Removed first, because the mode counts only for a new file.
      await rm(path, { force: true });
      await writeFile(path, JSON.stringify({ keys }), { mode });
      return path;
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

export function without<T extends object, Member extends keyof T>(value: T, member: Member): Omit<T, Member> {
  const copy = { ...value };
  delete copy[member];
  return copy;
}
