/** Signs tokens of one kind. */
import { MayflyError } from '@mayfly/contracts';
import { encodeJson } from './compact.ts';
import { signJws } from './jws.ts';
import type { SigningKey, SigningKeys } from './keys.ts';
import type { TokenKind } from './kinds.ts';

export interface SignOptions {
  readonly now: Date;
  /** Whole seconds, at most the kind's `maxAgeSeconds`, which is the default. */
  readonly ttlSeconds?: number;
  /** Narrows the kind's audience; nothing outside it is accepted. Default: the kind's whole audience. */
  readonly audience?: string | readonly string[];
}

export class TokenSigner<Claims> {
  constructor(
    private readonly kind: TokenKind<Claims>,
    private readonly keys: SigningKeys,
  ) {}

  /**
   * Throws `internal` for claims that the kind's schema refuses (no verifier would take them), a TTL or audience
   * outside the kind, or a key that is not Ed25519; `dependency_unavailable` when the key file can't be read.
   */
  async sign(claims: Claims, options: SignOptions): Promise<string> {
    const { kind } = this;
    const parsed = kind.claims.safeParse(claims);
    if (!parsed.success) {
      throw new MayflyError('internal', 'A token could not be signed.', { cause: parsed.error });
    }
    const ttlSeconds = options.ttlSeconds ?? kind.maxAgeSeconds;
    if (!isAllowedTtl(ttlSeconds, kind.maxAgeSeconds))
      throw refused(`TTL of ${ttlSeconds} s for ${kind.typ}`);
    const key = await this.keys.signing();
    if (key.algorithm !== 'EdDSA') throw refused(`${key.algorithm} key for ${kind.typ}`);

    const audience = audienceWithin(kind, options.audience);
    return signCompact(
      key,
      kind.typ,
      { ...parsed.data, iss: kind.issuer, aud: audience },
      options.now,
      ttlSeconds,
    );
  }
}

/** A compact JWS (RFC 7515 §7.1) with `iat` and, unless the TTL is infinite, `exp`. */
export function signCompact(
  key: SigningKey,
  typ: string,
  claims: object,
  now: Date,
  ttlSeconds: number,
): string {
  const iat = Math.floor(now.getTime() / 1000);
  const payload = {
    ...claims,
    iat,
    ...(ttlSeconds !== Number.POSITIVE_INFINITY && { exp: iat + ttlSeconds }),
  };
  return signJws(key, { alg: key.algorithm, kid: key.kid, typ }, encodeJson(payload));
}

export function isAllowedTtl(ttlSeconds: number, maxAgeSeconds: number): boolean {
  if (maxAgeSeconds === Number.POSITIVE_INFINITY) return ttlSeconds === maxAgeSeconds;
  return Number.isInteger(ttlSeconds) && ttlSeconds >= 1 && ttlSeconds <= maxAgeSeconds;
}

function audienceWithin(kind: TokenKind<unknown>, wanted: string | readonly string[] | undefined) {
  if (wanted === undefined) return kind.audience;
  const named = [wanted].flat();
  const known = [kind.audience].flat();
  if (named.length === 0 || named.some((audience) => !known.includes(audience))) {
    throw refused(`audience for ${kind.typ}`);
  }
  return wanted;
}

function refused(what: string): MayflyError {
  return new MayflyError('internal', 'A token could not be signed.', {
    cause: new RangeError(`refused: ${what}`),
  });
}
