/**
 * The JWK shapes that key files may hold, and nothing else (RFC 7517, RFC 7518 §6, RFC 8037 §2). Messages name the file
 * and the place, never a value.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { KeyFileError } from './watched-file.ts';

/** Signature algorithms of Mayfly's own tokens; tool tokens may have either, all others are `EdDSA`. */
export type SignatureAlgorithm = 'EdDSA' | 'ES256';

/** A public signature key as published. */
export interface PublicSignatureJwk {
  readonly kty: 'OKP' | 'EC';
  readonly crv: 'Ed25519' | 'P-256';
  readonly x: string;
  readonly y?: string;
  readonly kid: string;
  readonly alg: SignatureAlgorithm;
  readonly use: 'sig';
}

export interface PublicJwks {
  readonly keys: readonly PublicSignatureJwk[];
}

/** 32 bytes in base64url without padding. */
const bytes32 = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
const kid = z.string().min(1).max(128);
const sig = z.literal('sig').optional();
const enc = z.literal('enc').optional();
const ed25519 = {
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: bytes32,
  kid,
  use: sig,
  alg: z.enum(['EdDSA', 'Ed25519']).optional(),
};
const p256 = {
  kty: z.literal('EC'),
  crv: z.literal('P-256'),
  x: bytes32,
  y: bytes32,
  kid,
  use: sig,
  alg: z.literal('ES256').optional(),
};
const x25519 = {
  kty: z.literal('OKP'),
  crv: z.literal('X25519'),
  x: bytes32,
  kid,
  use: enc,
  alg: z.literal('ECDH-ES').optional(),
};
const d = { d: bytes32 };

export const SignatureJwk = z.union([z.object(ed25519), z.object(p256)]);
export const PrivateSignatureJwk = z.union([z.object({ ...ed25519, ...d }), z.object({ ...p256, ...d })]);
export const SealingJwk = z.object(x25519);
export const PrivateSealingJwk = z.object({ ...x25519, ...d });
/** AES-256: 256 bits, `oct` (RFC 7518 §6.4). */
export const SecretJwk = z.object({ kty: z.literal('oct'), k: bytes32, kid });

const Jwks = z.object({ keys: z.array(z.record(z.string(), z.unknown())).min(1).max(64) });

/** Members that only private or secret keys have (RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2). */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

export function hasPrivateMember(jwk: object): boolean {
  return privateMembers.some((member) => Object.hasOwn(jwk, member));
}

/** The keys of a JWK Set file that must all have the given shape. Throws KeyFileError. */
export function parseKeys<T extends { kid: string }>(
  path: string,
  content: string,
  shape: z.ZodType<T>,
  expected: string,
): T[] {
  const keys = parseSet(path, content).map((jwk, index) => {
    if (typeof jwk['kid'] !== 'string') throw new KeyFileError(`Key ${index + 1} of ${path} has no kid.`);
    const parsed = shape.safeParse(jwk);
    if (!parsed.success) throw new KeyFileError(`Key ${index + 1} of ${path} is not ${expected}.`);
    return parsed.data;
  });
  if (new Set(keys.map((key) => key.kid)).size !== keys.length) {
    throw new KeyFileError(`Two keys of ${path} have the same kid.`);
  }
  return keys;
}

/** As `parseKeys`, for files that are handed around: a private part in one of them is a leak and is refused. */
export function parsePublicKeys<T extends { kid: string }>(
  path: string,
  content: string,
  shape: z.ZodType<T>,
  expected: string,
): T[] {
  if (parseSet(path, content).some(hasPrivateMember)) {
    throw new KeyFileError(`${path} holds a private key where only public keys belong.`);
  }
  return parseKeys(path, content, shape, expected);
}

/** The mathematical members alone: `use`, `alg` and the like say nothing that Mayfly takes from a key. */
interface KeyMembers {
  readonly kty: 'OKP' | 'EC';
  readonly crv: 'Ed25519' | 'P-256' | 'X25519';
  readonly x: string;
  readonly y?: string;
  readonly d?: string;
}

/**
 * The private key if there is a `d`, or else the public one. Undefined for a point off the curve, and for a private part
 * that does not belong to the public one: what such a key signs or opens, nobody could verify or seal.
 */
export function importJwk({ kty, crv, x, y, d }: KeyMembers): KeyObject | undefined {
  const key = { kty, crv, x, ...(y !== undefined && { y }), ...(d !== undefined && { d }) };
  try {
    if (d === undefined) return createPublicKey({ key, format: 'jwk' });
    const privateKey = createPrivateKey({ key, format: 'jwk' });
    const own = createPublicKey(privateKey).export({ format: 'jwk' });
    return own.x === x && own.y === y ? privateKey : undefined;
  } catch {
    return undefined;
  }
}

function parseSet(path: string, content: string): Record<string, unknown>[] {
  try {
    return Jwks.parse(JSON.parse(content)).keys;
  } catch {
    // The parser's own message would quote the file.
    throw new KeyFileError(`${path} is not a JWK Set with 1 to 64 keys.`);
  }
}
