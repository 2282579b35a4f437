/** Compact JWS (RFC 7515 §7.1) with `EdDSA` over Ed25519 (RFC 8037 §3.1) or `ES256` (RFC 7518 §3.4), and no others. */
import { sign, verify, type KeyObject } from 'node:crypto';
import { decodeBase64url, decodeJson, encodeJson, type Members } from './compact.ts';
import type { SignatureAlgorithm } from './jwk.ts';

export interface SignatureKey {
  readonly algorithm: SignatureAlgorithm;
  readonly key: KeyObject;
}

/** Taken apart; nothing is verified yet. */
export interface CompactJws {
  readonly header: Members;
  /** Decoded only after the signature is checked. */
  readonly encodedPayload: string;
  readonly signature: Buffer;
  /** What is signed (RFC 7515 §5.1 step 8). */
  readonly input: Buffer;
}

/** Of both algorithms, in bytes (RFC 8032 §5.1.6, RFC 7518 §3.4). */
const signatureLength = 64;

/** `encodedPayload` is base64url already. The caller names the algorithm in the header. */
export function signJws(key: SignatureKey, header: object, encodedPayload: string): string {
  const input = `${encodeJson(header)}.${encodedPayload}`;
  return `${input}.${signatureOf(key, Buffer.from(input, 'ascii')).toString('base64url')}`;
}

/** Undefined for what is no compact JWS; the caller has bounded its length. */
export function parseJws(token: string): CompactJws | undefined {
  const parts = token.split('.', 4);
  if (parts.length !== 3) return undefined;
  const [encodedHeader, encodedPayload, encodedSignature] = parts as [string, string, string];
  const header = decodeJson(encodedHeader);
  const signature = decodeBase64url(encodedSignature);
  if (header === undefined || signature === undefined) return undefined;
  // Decoded, and that as strictly as the others, only when it is known to be signed.
  if (!/^[\w-]*$/.test(encodedPayload)) return undefined;
  return {
    header,
    encodedPayload,
    signature,
    input: Buffer.from(`${encodedHeader}.${encodedPayload}`, 'ascii'),
  };
}

/** The algorithm is the key's, never the token's (RFC 8725 §3.1); the caller compares it with the header. */
export function isSignedWith(by: SignatureKey, { input, signature }: CompactJws): boolean {
  if (signature.length !== signatureLength) return false;
  return by.algorithm === 'EdDSA'
    ? verify(null, input, by.key, signature)
    : verify('sha256', input, { key: by.key, dsaEncoding: 'ieee-p1363' }, signature);
}

function signatureOf(by: SignatureKey, input: Buffer): Buffer {
  return by.algorithm === 'EdDSA'
    ? sign(null, input, by.key)
    : sign('sha256', input, { key: by.key, dsaEncoding: 'ieee-p1363' });
}
