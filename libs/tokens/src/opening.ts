/** What opening a sealed value and opening a handle have in common: one bound, one refusal that says nothing more. */
import { MayflyError, Sealed } from '@mayfly/contracts';
import { decodeProtectedHeader, type CompactDecryptResult, type CryptoKey } from 'jose';

export interface NamedKey {
  readonly kid: string;
  readonly key: CryptoKey;
}

/** The `kid` that a JWE names, unverified. Throws `invalid_request` before parsing what is too large or no compact JWE. */
export function readKeyId(jwe: string): string | undefined {
  if (!isCompactJwe(jwe)) throw openFailed();
  try {
    const { kid } = decodeProtectedHeader(jwe);
    if (kid !== undefined && typeof kid !== 'string') throw openFailed();
    return kid;
  } catch {
    throw openFailed();
  }
}

export interface Opened {
  readonly plaintext: string;
  /** Authenticated: the protected header is the AAD (RFC 7516 §5.1). */
  readonly header: Readonly<Record<string, unknown>>;
}

/** Undefined when it does not open, whatever the reason. */
export async function openWith(decrypt: () => Promise<CompactDecryptResult>): Promise<Opened | undefined> {
  try {
    const { plaintext, protectedHeader } = await decrypt();
    return {
      plaintext: new TextDecoder('utf-8', { fatal: true }).decode(plaintext),
      header: protectedHeader,
    };
  } catch {
    return undefined;
  }
}

/** Always the same words: which check failed is no one's business. */
export function openFailed(): MayflyError {
  return new MayflyError('invalid_request', 'The sealed value cannot be opened.');
}

/** `Sealed`, and `dir` and ECDH-ES have an empty second part (RFC 7516 §5.1 step 5). */
function isCompactJwe(jwe: string): boolean {
  return typeof jwe === 'string' && Sealed.safeParse(jwe).success;
}
