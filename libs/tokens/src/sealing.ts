/**
 * Sealing: compact JWE to one recipient, ECDH-ES (RFC 7518 §4.6) over X25519 (RFC 8037 §3.2) or P-256, with A256GCM. A new
 * ephemeral key per seal, so nothing but the recipient's private key opens it.
 */
import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { MayflyError, RecipientKey, Sealed } from '@mayfly/contracts';
import { decryptAgreed, encryptTo } from './jwe.ts';
import { importJwk, parseKeys, parsePublicKeys, PrivateSealingJwk, SealingJwk } from './jwk.ts';
import { generateAgreementKey } from './key-agreement.ts';
import { openFailed, readSealed, type NamedKey } from './opening.ts';
import { KeyFileError, WatchedFile, type WatchOptions } from './watched-file.ts';

/** The private side of a sealing key. */
export interface SealingKey {
  /** The payload. Throws `invalid_request` for anything that was not sealed to this key or was altered. */
  readonly open: (jwe: string) => Promise<string>;
}

export interface SealingKeyPair extends SealingKey {
  readonly publicJwk: RecipientKey;
}

const members = new Set(['alg', 'enc', 'epk', 'kid', 'cty', 'typ']);

/**
 * Seals `payload`; an object as JSON, with `cty` `json`. The header names the recipient's `kid` if it has one. Throws
 * `invalid_request` for a key that is not a public X25519 or P-256 key, or a payload too large for the bus (128 KiB sealed).
 */
export function sealTo(
  recipient: RecipientKey,
  payload: string | object,
  options: { readonly contentType?: string } = {},
): Promise<string> {
  // An exception becomes a rejection in there.
  return new Promise((done) => done(seal(recipient, payload, options.contentType)));
}

/** A one-time X25519 key; its private part is in the closure of `open` and nowhere else. */
export function generateSealingKeyPair(): Promise<SealingKeyPair> {
  const { publicKey, privateKey } = generateAgreementKey('X25519');
  const { x } = publicKey.export({ format: 'jwk' });
  const kid = randomUUID();
  const publicJwk = RecipientKey.parse({ kty: 'OKP', crv: 'X25519', x, kid, use: 'enc', alg: 'ECDH-ES' });
  const keys = [{ kid, key: privateKey }];
  return Promise.resolve({ publicJwk, open: (jwe) => new Promise((done) => done(openSealed(jwe, keys))) });
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

function seal(recipient: RecipientKey, payload: string | object, contentType: string | undefined): string {
  const parsed = RecipientKey.safeParse(recipient);
  if (!parsed.success) throw badRecipient();
  const cty = contentType ?? (typeof payload === 'string' ? undefined : 'json');
  const plaintext = typeof payload === 'string' ? payload : JSON.stringify(payload);
  const header = {
    ...(recipient.kid !== undefined && { kid: recipient.kid }),
    ...(cty !== undefined && { cty }),
  };
  const jwe = encryptOrRefuse(parsed.data, header, plaintext);
  if (!Sealed.safeParse(jwe).success)
    throw new MayflyError('invalid_request', 'The value is too large to be sealed.');
  return jwe;
}

/** A point off its curve fails at the import, one of small order at the agreement (RFC 7748 §6.1). */
function encryptOrRefuse(recipient: RecipientKey, header: object, plaintext: string): string {
  try {
    return encryptTo(recipient, header, plaintext);
  } catch {
    throw badRecipient();
  }
}

function badRecipient(): MayflyError {
  return new MayflyError('invalid_request', 'The recipient key is not a usable public X25519 or P-256 key.');
}

function openSealed(jwe: string, keys: readonly NamedKey[]): string {
  const parsed = readSealed(jwe);
  const { kid } = parsed;
  const usable = kid === undefined ? keys : keys.filter((key) => key.kid === kid);
  for (const { key } of usable) {
    const opened = decryptAgreed(key, parsed, members);
    if (opened !== undefined) return opened;
  }
  throw openFailed();
}

function parsePrivateKeys(path: string, content: string): NamedKey[] {
  return parseKeys(path, content, PrivateSealingJwk, 'a private X25519 key').map((jwk) => {
    const key = importJwk(jwk);
    if (key === undefined) throw new KeyFileError(`The key ${jwk.kid} of ${path} is not a valid X25519 key.`);
    return { kid: jwk.kid, key };
  });
}

function parsePublicKey(path: string, content: string): RecipientKey {
  const [first] = parsePublicKeys(path, content, SealingJwk, 'a public X25519 key');
  return RecipientKey.parse(first);
}
