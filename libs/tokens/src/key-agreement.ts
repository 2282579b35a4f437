/**
 * ECDH-ES in Direct Key Agreement mode (RFC 7518 §4.6) over X25519 (RFC 8037 §3.2) or P-256: from a private and a public
 * key to the content encryption key.
 */
import { createHash, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { decodeBase64url, isObject } from './compact.ts';

/** A public key as it stands in `epk` (RFC 7518 §4.6.1.1). */
export type PublicAgreementJwk =
  | { readonly kty: 'OKP'; readonly crv: 'X25519'; readonly x: string }
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string };

/** On X25519 or P-256. */
export function generateAgreementKey(crv: PublicAgreementJwk['crv']): {
  publicKey: KeyObject;
  privateKey: KeyObject;
} {
  return crv === 'X25519'
    ? generateKeyPairSync('x25519')
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

/** Just the public members, whatever else `jwk` has. Throws for a point that is not on its curve. */
export function importAgreementKey(jwk: PublicAgreementJwk): KeyObject {
  const { kty, crv, x } = jwk;
  return createPublicKey({ key: { kty, crv, x, ...(jwk.kty === 'EC' && { y: jwk.y }) }, format: 'jwk' });
}

/** An `epk` of the form that can be imported; undefined for any other, also for one with a private part. */
export function readEphemeralJwk(epk: unknown): PublicAgreementJwk | undefined {
  if (!isObject(epk)) return undefined;
  const { kty, crv, x, y, ...others } = epk;
  if (Object.keys(others).length > 0 || !isCoordinate(x)) return undefined;
  if (kty === 'OKP' && crv === 'X25519' && y === undefined) return { kty, crv, x };
  if (kty === 'EC' && crv === 'P-256' && isCoordinate(y)) return { kty, crv, x, y };
  return undefined;
}

/**
 * The 256-bit key of `A256GCM`, with empty PartyUInfo and PartyVInfo. Throws for keys of two curves, and for a point of
 * small order: OpenSSL refuses an all-zero shared secret, as RFC 7748 §6.1 wants it.
 */
export function agreeOnKey(privateKey: KeyObject, publicKey: KeyObject): Buffer {
  return concatKdf(diffieHellman({ privateKey, publicKey }), 'A256GCM', 256);
}

const empty = Buffer.alloc(0);

/** Concat KDF (NIST SP 800-56A §5.8.1, RFC 7518 §4.6.2) for one round of SHA-256, so for at most 256 bits. */
export function concatKdf(
  sharedSecret: Uint8Array,
  algorithmId: string,
  keyBits: 128 | 256,
  partyU: Uint8Array = empty,
  partyV: Uint8Array = empty,
): Buffer {
  return createHash('sha256')
    .update(uint32(1))
    .update(sharedSecret)
    .update(lengthPrefixed(Buffer.from(algorithmId, 'ascii')))
    .update(lengthPrefixed(partyU))
    .update(lengthPrefixed(partyV))
    .update(uint32(keyBits))
    .digest()
    .subarray(0, keyBits / 8);
}

function lengthPrefixed(bytes: Uint8Array): Buffer {
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** 32 bytes, which is what coordinates of both curves have (RFC 7518 §6.2.1.2, RFC 7748 §5). */
function isCoordinate(value: unknown): value is string {
  return typeof value === 'string' && value.length === 43 && decodeBase64url(value) !== undefined;
}
