/**
 * Compact JWE (RFC 7516 §7.1) with A256GCM (RFC 7518 §5.3) under a key of its own (`dir`) or an agreed one (`ECDH-ES`).
 * Both have an empty second part (RFC 7516 §5.1 step 5).
 */
import { createCipheriv, createDecipheriv, randomBytes, type KeyObject } from 'node:crypto';
import { decodeBase64url, decodeJson, decodeUtf8, encodeJson, hasOnly, type Members } from './compact.ts';
import {
  agreeOnKey,
  generateAgreementKey,
  importAgreementKey,
  readEphemeralJwk,
  type PublicAgreementJwk,
} from './key-agreement.ts';

/** Taken apart; nothing is authenticated yet. */
export interface CompactJwe {
  readonly header: Members;
  readonly iv: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
  /** The encoded header (RFC 7516 §5.1 step 14). */
  readonly additionalData: Buffer;
}

/** Bytes: 96-bit IV, 128-bit tag (RFC 7518 §5.3). A shorter tag would be a weaker one, so no other length opens. */
const ivLength = 12;
const tagLength = 16;
const cipher = 'aes-256-gcm';

/** Members of the header beside `alg` and `enc`: `kid`, `cty` and what the caller wants authenticated. */
export function encryptDirect(key: KeyObject, header: object, plaintext: string): string {
  return encrypt(key, { alg: 'dir', enc: 'A256GCM', ...header }, plaintext);
}

/** Under a new ephemeral key. Throws for a point that is not on its curve, or one of small order. */
export function encryptTo(recipient: PublicAgreementJwk, header: object, plaintext: string): string {
  const publicKey = importAgreementKey(recipient);
  const ephemeral = generateAgreementKey(recipient.crv);
  const key = agreeOnKey(ephemeral.privateKey, publicKey);
  const epk = ephemeral.publicKey.export({ format: 'jwk' });
  return encrypt(key, { alg: 'ECDH-ES', enc: 'A256GCM', ...header, epk }, plaintext);
}

/** Undefined for what is no compact JWE of this kind; the caller has bounded its length. */
export function parseJwe(jwe: string): CompactJwe | undefined {
  const parts = jwe.split('.', 6);
  if (parts.length !== 5 || parts[1] !== '') return undefined;
  const [encodedHeader, , ...encoded] = parts as [string, string, string, string, string];
  const header = decodeJson(encodedHeader);
  const [iv, ciphertext, tag] = encoded.map(decodeBase64url);
  if (header === undefined || iv?.length !== ivLength || !ciphertext || tag?.length !== tagLength)
    return undefined;
  return { header, iv, ciphertext, tag, additionalData: Buffer.from(encodedHeader, 'ascii') };
}

/** The plaintext; undefined when it does not open, whatever the reason. */
export function decryptDirect(
  key: KeyObject,
  jwe: CompactJwe,
  members: ReadonlySet<string>,
): string | undefined {
  if (!isFor(jwe.header, 'dir', members)) return undefined;
  return attempt(() => decrypt(key, jwe));
}

/** As `decryptDirect`. `apu` and `apv` are among what is refused: Mayfly's seals have none. */
export function decryptAgreed(
  privateKey: KeyObject,
  jwe: CompactJwe,
  members: ReadonlySet<string>,
): string | undefined {
  if (!isFor(jwe.header, 'ECDH-ES', members)) return undefined;
  const epk = readEphemeralJwk(jwe.header['epk']);
  if (epk === undefined) return undefined;
  return attempt(() => decrypt(agreeOnKey(privateKey, importAgreementKey(epk)), jwe));
}

function isFor(header: Members, alg: string, members: ReadonlySet<string>): boolean {
  return header['alg'] === alg && header['enc'] === 'A256GCM' && hasOnly(header, members);
}

function encrypt(key: KeyObject | Buffer, header: object, plaintext: string): string {
  const encodedHeader = encodeJson(header);
  const iv = randomBytes(ivLength);
  const encryption = createCipheriv(cipher, key, iv, { authTagLength: tagLength });
  encryption.setAAD(Buffer.from(encodedHeader, 'ascii'));
  const ciphertext = Buffer.concat([encryption.update(plaintext, 'utf8'), encryption.final()]);
  const encoded = [iv, ciphertext, encryption.getAuthTag()].map((bytes) => bytes.toString('base64url'));
  return [encodedHeader, '', ...encoded].join('.');
}

/** Nothing of the plaintext leaves before `final` has checked the tag: it throws for a wrong one. */
function decrypt(key: KeyObject | Buffer, jwe: CompactJwe): string | undefined {
  const decryption = createDecipheriv(cipher, key, jwe.iv, { authTagLength: tagLength });
  decryption.setAAD(jwe.additionalData);
  decryption.setAuthTag(jwe.tag);
  return decodeUtf8(Buffer.concat([decryption.update(jwe.ciphertext), decryption.final()]));
}

function attempt(open: () => string | undefined): string | undefined {
  try {
    return open();
  } catch {
    return undefined;
  }
}
