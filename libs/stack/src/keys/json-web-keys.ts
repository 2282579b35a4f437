/** Making Mayfly's keys as JSON Web Keys (RFC 7517, RFC 8037), and taking their public parts. */
import { randomBytes } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { z } from 'zod';

/** What a key file is for, which fixes its kind of key. */
export type KeyKind = 'ed25519' | 'es256' | 'x25519' | 'a256gcm';

/** A set of keys; the first signs or seals, the others only verify or open. */
export interface KeySet {
  readonly keys: readonly JWK[];
}

const keySetSchema = z.object({ keys: z.array(z.looseObject({ kty: z.string(), kid: z.string() })).min(1) });

/** A new private (or secret) key. `kid` is the RFC 7638 thumbprint, random for a secret key. */
export async function makeKey(kind: KeyKind): Promise<JWK> {
  switch (kind) {
    case 'ed25519':
      return asymmetricKey(
        'EdDSA',
        'sig',
        await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true }),
      );
    case 'es256':
      return asymmetricKey('ES256', 'sig', await generateKeyPair('ES256', { extractable: true }));
    case 'x25519':
      return asymmetricKey(
        'ECDH-ES',
        'enc',
        await generateKeyPair('ECDH-ES', { crv: 'X25519', extractable: true }),
      );
    case 'a256gcm':
      return {
        kty: 'oct',
        kid: randomBytes(12).toString('base64url'),
        alg: 'A256GCM',
        use: 'enc',
        k: randomBytes(32).toString('base64url'),
      };
  }
}

/** Reads a key file. @throws Error in one sentence that names the file and shows nothing of its content */
export function parseKeySet(text: string, path: string): KeySet {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error(`${path} is not JSON.`);
  }
  const parsed = keySetSchema.safeParse(json);
  if (!parsed.success)
    throw new Error(`${path} is not a key set: {"keys": [...]} with "kty" and "kid" in each.`);
  return { keys: parsed.data.keys };
}

/** The public parts of a set of asymmetric keys. @throws Error for a secret key, which has none */
export function publicKeySet(set: KeySet): KeySet {
  return {
    keys: set.keys.map(({ kty, crv, x, y, n, e, kid, alg, use }) => {
      if (kty !== 'OKP' && kty !== 'EC' && kty !== 'RSA')
        throw new Error(`A key of type ${String(kty)} has no public part.`);
      return JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, kid, alg, use })) as JWK;
    }),
  };
}

/** The text of a key file. */
export function keySetText(set: KeySet): string {
  return `${JSON.stringify(set, null, 2)}\n`;
}

async function asymmetricKey(
  alg: string,
  use: 'sig' | 'enc',
  pair: { privateKey: Parameters<typeof exportJWK>[0] },
): Promise<JWK> {
  const jwk = await exportJWK(pair.privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  return { kty: jwk.kty ?? '', ...jwk, kid, alg, use };
}
