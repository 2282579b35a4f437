/**
 * Sealing: compact JWE to one recipient, ECDH-ES (RFC 7518 §4.6) over X25519 (RFC 8037 §3.2) or P-256, with A256GCM. A new
 * ephemeral key per seal, so nothing but the recipient's private key opens it.
 */
import { resolve } from 'node:path';
import { MayflyError, RecipientKey, Sealed } from '@mayfly/contracts';
import { compactDecrypt, CompactEncrypt, exportJWK, generateKeyPair, importJWK, type CryptoKey } from 'jose';
import { parseKeys, parsePublicKeys, PrivateSealingJwk, SealingJwk } from './jwk.ts';
import { openFailed, openWith, readKeyId, type NamedKey } from './opening.ts';
import { KeyFileError, WatchedFile, type WatchOptions } from './watched-file.ts';

/** The private side of a sealing key. */
export interface SealingKey {
  /** The payload. Throws `invalid_request` for anything that was not sealed to this key or was altered. */
  readonly open: (jwe: string) => Promise<string>;
}

export interface SealingKeyPair extends SealingKey {
  readonly publicJwk: RecipientKey;
}

const encoder = new TextEncoder();
const algorithms = {
  keyManagementAlgorithms: ['ECDH-ES'],
  contentEncryptionAlgorithms: ['A256GCM'],
  // A compressed payload is refused: Mayfly never makes one.
  maxDecompressedLength: 0,
};

/**
 * Seals `payload`; an object as JSON, with `cty` `json`. The header names the recipient's `kid` if it has one. Throws
 * `invalid_request` for a key that is not a public X25519 or P-256 key, or a payload too large for the bus (128 KiB sealed).
 */
export async function sealTo(
  recipient: RecipientKey,
  payload: string | object,
  options: { readonly contentType?: string } = {},
): Promise<string> {
  const key = await importRecipient(recipient);
  const cty = options.contentType ?? (typeof payload === 'string' ? undefined : 'json');
  const plaintext = typeof payload === 'string' ? payload : JSON.stringify(payload);
  const header = {
    alg: 'ECDH-ES',
    enc: 'A256GCM',
    ...(recipient.kid !== undefined && { kid: recipient.kid }),
    ...(cty !== undefined && { cty }),
  };
  // Small-order X25519 points pass the import and fail here (RFC 7748 §6.1).
  const jwe = await new CompactEncrypt(encoder.encode(plaintext))
    .setProtectedHeader(header)
    .encrypt(key)
    .catch(() => {
      throw badRecipient();
    });
  if (!Sealed.safeParse(jwe).success)
    throw new MayflyError('invalid_request', 'The value is too large to be sealed.');
  return jwe;
}

/** A one-time X25519 key; its private part stays in memory and can't be exported. */
export async function generateSealingKeyPair(): Promise<SealingKeyPair> {
  const { publicKey, privateKey } = await generateKeyPair('ECDH-ES', { crv: 'X25519', extractable: false });
  const { x } = await exportJWK(publicKey);
  const kid = crypto.randomUUID();
  const publicJwk = RecipientKey.parse({ kty: 'OKP', crv: 'X25519', x, kid, use: 'enc', alg: 'ECDH-ES' });
  return { publicJwk, open: (jwe) => openSealed(jwe, [{ kid, key: privateKey }]) };
}

/**
 * Private X25519 keys; a JWE that names a `kid` is opened with that key, one that names none with each in order. Throws
 * KeyFileError, also for a file that others can read.
 */
export async function loadSealingKey(path: string, options?: WatchOptions): Promise<SealingKey> {
  const file = await WatchedFile.open(path, { private: true, parse: parsePrivateKeys }, options);
  return { open: async (jwe) => openSealed(jwe, await file.current()) };
}

const publicFiles = new Map<string, Promise<WatchedFile<RecipientKey>>>();

/**
 * The key to seal to: the first of a public X25519 file. Cheap, so call it for each seal: the file is read again when it
 * changes (looked for at most every 5 s). Throws KeyFileError, also for a file with a private part in it.
 */
export async function loadSealingPublicKey(path: string): Promise<RecipientKey> {
  const absolute = resolve(path);
  let file = publicFiles.get(absolute);
  if (file === undefined) {
    file = WatchedFile.open(absolute, { private: false, parse: parsePublicKey });
    publicFiles.set(absolute, file);
    file.catch(() => publicFiles.delete(absolute));
  }
  return (await file).current();
}

async function importRecipient(recipient: RecipientKey): Promise<CryptoKey> {
  const parsed = RecipientKey.safeParse(recipient);
  if (!parsed.success) throw badRecipient();
  try {
    const { kty, crv, x } = parsed.data;
    const jwk = parsed.data.kty === 'EC' ? { kty, crv, x, y: parsed.data.y } : { kty, crv, x };
    const key = await importJWK(jwk, 'ECDH-ES');
    if (key instanceof Uint8Array) throw badRecipient();
    return key;
  } catch {
    throw badRecipient();
  }
}

function badRecipient(): MayflyError {
  return new MayflyError('invalid_request', 'The recipient key is not a usable public X25519 or P-256 key.');
}

async function openSealed(jwe: string, keys: readonly NamedKey[]): Promise<string> {
  const kid = readKeyId(jwe);
  const usable = kid === undefined ? keys : keys.filter((key) => key.kid === kid);
  for (const { key } of usable) {
    const opened = await openWith(() => compactDecrypt(jwe, key, algorithms));
    if (opened !== undefined) return opened.plaintext;
  }
  throw openFailed();
}

async function parsePrivateKeys(path: string, content: string): Promise<NamedKey[]> {
  const jwks = parseKeys(path, content, PrivateSealingJwk, 'a private X25519 key');
  return Promise.all(
    jwks.map(async ({ kty, crv, x, d, kid }) => {
      const key = await importJWK({ kty, crv, x, d }, 'ECDH-ES', { extractable: false }).catch(
        () => undefined,
      );
      if (key === undefined || key instanceof Uint8Array) {
        throw new KeyFileError(`The key ${kid} of ${path} is not a valid X25519 key.`);
      }
      return { kid, key };
    }),
  );
}

function parsePublicKey(path: string, content: string): RecipientKey {
  const [first] = parsePublicKeys(path, content, SealingJwk, 'a public X25519 key');
  return RecipientKey.parse(first);
}
