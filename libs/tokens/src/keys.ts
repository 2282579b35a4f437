/** Signature keys from JWK Set files: imported once, found by `kid`, read again when the file changes. */
import type { KeyObject } from 'node:crypto';
import type { z } from 'zod';
import {
  importJwk,
  parseKeys,
  parsePublicKeys,
  PrivateSignatureJwk,
  SignatureJwk,
  type PublicJwks,
  type PublicSignatureJwk,
  type SignatureAlgorithm,
} from './jwk.ts';
import { KeyFileError, WatchedFile, type WatchOptions } from './watched-file.ts';

export interface VerificationKey {
  readonly kid: string;
  readonly algorithm: SignatureAlgorithm;
  readonly key: KeyObject;
}

export type SigningKey = VerificationKey;

export interface VerificationKeys {
  /** The public key of that id. Throws `dependency_unavailable` when the file can't be read any longer. */
  find(kid: string): Promise<VerificationKey | undefined>;
  /** Public parts, in the order of the file. Throws like `find`. */
  publicJwks(): Promise<PublicJwks>;
}

/** Also verifies: who signs can check what it signed. */
export interface SigningKeys extends VerificationKeys {
  /** The first key of the file. Throws like `find`. */
  signing(): Promise<SigningKey>;
}

interface PublicSet {
  readonly byId: ReadonlyMap<string, VerificationKey>;
  readonly jwks: PublicJwks;
}

/**
 * Private keys of one purpose, Ed25519 or P-256: the first signs, the others only verify. Throws KeyFileError for a file
 * that others can read, another key type, or a missing or repeated `kid`.
 */
export async function loadSigningKeys(path: string, options?: WatchOptions): Promise<SigningKeys> {
  const file = await WatchedFile.open(path, { private: true, parse: parsePrivateSet }, options);
  return {
    ...verificationOf(file),
    async signing() {
      return (await file.current()).signing;
    },
  };
}

/** Public keys pinned by file. Throws KeyFileError, also for a file with a private part in it. */
export async function loadVerificationKeys(path: string, options?: WatchOptions): Promise<VerificationKeys> {
  return verificationOf(await WatchedFile.open(path, { private: false, parse: parsePublicSet }, options));
}

/** What `/.well-known/jwks.json` serves (RFC 7517 §5). */
export function publicJwks(keys: VerificationKeys): Promise<PublicJwks> {
  return keys.publicJwks();
}

function verificationOf(file: WatchedFile<PublicSet>): VerificationKeys {
  return {
    async find(kid) {
      return (await file.current()).byId.get(kid);
    },
    async publicJwks() {
      return (await file.current()).jwks;
    },
  };
}

function parsePrivateSet(path: string, content: string): PublicSet & { signing: SigningKey } {
  const jwks = parseKeys(path, content, PrivateSignatureJwk, 'a private Ed25519 or P-256 signing key');
  const publicSet = importPublicSet(path, jwks);
  // `parseKeys` refuses an empty set.
  const [first] = jwks as [(typeof jwks)[number]];
  return { ...publicSet, signing: importKey(path, first) };
}

function parsePublicSet(path: string, content: string): PublicSet {
  return importPublicSet(
    path,
    parsePublicKeys(path, content, SignatureJwk, 'a public Ed25519 or P-256 signature key'),
  );
}

function importPublicSet(path: string, jwks: z.infer<typeof SignatureJwk>[]): PublicSet {
  const publicKeys = jwks.map(publicPart);
  const imported = publicKeys.map((jwk) => importKey(path, jwk));
  return { byId: new Map(imported.map((key) => [key.kid, key])), jwks: { keys: publicKeys } };
}

/** Built member by member, so that nothing private can slip through. */
function publicPart(jwk: z.infer<typeof SignatureJwk>): PublicSignatureJwk {
  const { kty, crv, x, kid } = jwk;
  return { kty, crv, x, ...(jwk.kty === 'EC' && { y: jwk.y }), kid, alg: algorithmOf(jwk), use: 'sig' };
}

type ImportableJwk = z.infer<typeof SignatureJwk> | z.infer<typeof PrivateSignatureJwk> | PublicSignatureJwk;

function importKey(path: string, jwk: ImportableJwk): VerificationKey {
  const algorithm = algorithmOf(jwk);
  const { crv, kid } = jwk;
  const key = importJwk(jwk);
  if (key === undefined) throw new KeyFileError(`The key ${kid} of ${path} is not a valid ${crv} key.`);
  return { kid, algorithm, key };
}

function algorithmOf(jwk: { crv: 'Ed25519' | 'P-256' }): SignatureAlgorithm {
  return jwk.crv === 'Ed25519' ? 'EdDSA' : 'ES256';
}
