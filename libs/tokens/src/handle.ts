/**
 * Handles: what revoking a lease needs, sealed by minting for itself (JWE `dir`, A256GCM, `kid`) and kept by revocation,
 * which can't open it. Each is bound to its lease, organization and integration: a handle put beside another lease's row
 * does not open.
 */
import { createHash, createSecretKey, timingSafeEqual } from 'node:crypto';
import { MayflyError, Sealed } from '@mayfly/contracts';
import { decryptDirect, encryptDirect } from './jwe.ts';
import { parseKeys, SecretJwk } from './jwk.ts';
import { openFailed, readSealed, type NamedKey } from './opening.ts';
import { WatchedFile, type WatchOptions } from './watched-file.ts';

export interface HandleBinding {
  readonly leaseId: string;
  readonly organization: string;
  readonly integration: string;
}

/** Header member with the digest of the binding; protected, so it is authenticated with the content. */
const bindingMember = 'mayfly_binding';
const members = new Set(['alg', 'enc', 'kid', 'cty', bindingMember]);

export class HandleBox {
  private constructor(private readonly file: WatchedFile<readonly [NamedKey, ...NamedKey[]]>) {}

  /** 256-bit `oct` keys: the first seals, all open. Throws KeyFileError, also for a file that others can read. */
  static async load(path: string, options?: WatchOptions): Promise<HandleBox> {
    return new HandleBox(await WatchedFile.open(path, { private: true, parse: parseSecretKeys }, options));
  }

  /** Throws `invalid_request` when the handle is too large for the bus (128 KiB sealed). */
  async seal(handle: object, binding: HandleBinding): Promise<string> {
    const [{ kid, key }] = await this.file.current();
    // Random 96-bit IVs: one key is good for 2^32 handles (NIST SP 800-38D §8.3).
    const header = { kid, cty: 'json', [bindingMember]: digestOf(binding) };
    const jwe = encryptDirect(key, header, JSON.stringify(handle));
    if (!Sealed.safeParse(jwe).success) throw new MayflyError('invalid_request', 'The handle is too large.');
    return jwe;
  }

  /** Throws `invalid_request`, always with the same words, for another binding, an unknown `kid` or an altered handle. */
  async open(jwe: string, binding: HandleBinding): Promise<unknown> {
    const parsed = readSealed(jwe);
    const named = (await this.file.current()).find((key) => key.kid === parsed.kid);
    const plaintext = named && decryptDirect(named.key, parsed, members);
    if (plaintext === undefined || !isSameText(parsed.header[bindingMember], digestOf(binding)))
      throw openFailed();
    try {
      return JSON.parse(plaintext);
    } catch {
      // The parser's own message would quote the handle.
      throw openFailed();
    }
  }
}

/** As JSON, so that no two bindings run together. */
function digestOf({ leaseId, organization, integration }: HandleBinding): string {
  return createHash('sha256')
    .update(JSON.stringify([leaseId, organization, integration]))
    .digest('base64url');
}

/** In constant time for texts of equal length. */
function isSameText(given: unknown, expected: string): boolean {
  if (typeof given !== 'string' || given.length !== expected.length) return false;
  return timingSafeEqual(Buffer.from(given, 'latin1'), Buffer.from(expected, 'latin1'));
}

function parseSecretKeys(path: string, content: string): readonly [NamedKey, ...NamedKey[]] {
  const jwks = parseKeys(path, content, SecretJwk, 'a 256-bit secret key');
  const keys = jwks.map(({ k, kid }) => ({ kid, key: createSecretKey(k, 'base64url') }));
  // `parseKeys` refuses an empty set.
  return keys as [NamedKey, ...NamedKey[]];
}
