/** Verifies tokens of one kind for one audience. */
import { jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose';
import type { z } from 'zod';
import type { SignatureAlgorithm } from './jwk.ts';
import type { VerificationKeys } from './keys.ts';
import type { TokenKind } from './kinds.ts';
import { defaultClockToleranceSeconds, maxTokenLength, rejected, rejectionOf } from './rejection.ts';

export interface VerifyOptions {
  readonly now: Date;
  /** How far the signer's clock may be off, in seconds. Default 30. */
  readonly clockToleranceSeconds?: number;
}

export class TokenVerifier<Claims> {
  readonly #audience: string;

  /** `audience` may be left out where the kind has just one. Throws RangeError for one that the kind does not have. */
  constructor(
    private readonly kind: TokenKind<Claims>,
    private readonly keys: VerificationKeys,
    options: { readonly audience?: string } = {},
  ) {
    const known = [kind.audience].flat();
    const audience = options.audience ?? (known.length === 1 ? known[0] : undefined);
    if (audience === undefined || !known.includes(audience)) {
      throw new RangeError(`A verifier of ${kind.typ} must be for one of ${known.join(', ')}.`);
    }
    this.#audience = audience;
  }

  /**
   * The claims, with `iat` and `exp` in epoch seconds (`exp` is `Infinity` for kinds that never expire). Throws
   * `unauthenticated` for whatever is wrong with the token, `dependency_unavailable` when the key file can't be read.
   */
  async verify(token: string, options: VerifyOptions): Promise<Claims & { iat: number; exp: number }> {
    const { kind, keys } = this;
    const verified = await verifySigned(token, {
      keys,
      typ: kind.typ,
      claims: kind.claims,
      maxAgeSeconds: kind.maxAgeSeconds,
      issuer: kind.issuer,
      audience: this.#audience,
      algorithms: ['EdDSA'],
      ...options,
    });
    return { ...verified.claims, iat: verified.iat, exp: verified.exp };
  }
}

/** What a signed token must be. */
export interface SignedTokenRules<Claims> extends VerifyOptions {
  readonly keys: VerificationKeys;
  readonly typ: string;
  readonly claims: z.ZodType<Claims>;
  readonly maxAgeSeconds: number;
  readonly issuer: string;
  /** Without one any audience is accepted; only for whoever asks on behalf of the token's audience. */
  readonly audience?: string;
  readonly algorithms: SignatureAlgorithm[];
}

export interface SignedToken<Claims> {
  readonly claims: Claims;
  readonly audience: string | string[];
  readonly iat: number;
  readonly exp: number;
}

/** Signature first, then header and registered claims, then the kind's own claims. Throws as `TokenVerifier.verify`. */
export async function verifySigned<Claims>(
  token: string,
  rules: SignedTokenRules<Claims>,
): Promise<SignedToken<Claims>> {
  if (typeof token !== 'string' || token.length > maxTokenLength) throw rejected('The token', 'is malformed');
  const payload = await verifySignature(token, rules).catch((cause: unknown) => {
    throw rejectionOf('The token', cause);
  });

  const { aud: audience, iat, exp } = payload;
  const times = lifetimeOf(iat, exp, rules);
  if (audience === undefined) throw rejected('The token', 'is for another audience');
  const claims = rules.claims.safeParse(ownClaims(payload));
  if (!claims.success) throw rejected('The token', 'has claims that its kind does not have', claims.error);
  return { claims: claims.data, audience, ...times };
}

/** What is left for the kind's schema: strict, so a claim too many is refused. */
function ownClaims(payload: JWTPayload): JWTPayload {
  const own = { ...payload };
  for (const registered of ['iss', 'aud', 'iat', 'nbf', 'exp']) delete own[registered];
  return own;
}

async function verifySignature(token: string, rules: SignedTokenRules<unknown>): Promise<JWTPayload> {
  const options: JWTVerifyOptions = {
    algorithms: rules.algorithms,
    issuer: rules.issuer,
    typ: rules.typ,
    currentDate: rules.now,
    clockTolerance: rules.clockToleranceSeconds ?? defaultClockToleranceSeconds,
    ...(rules.audience !== undefined && { audience: rules.audience }),
  };
  const { payload } = await jwtVerify(
    token,
    async ({ alg, kid }) => {
      const key = typeof kid === 'string' ? await rules.keys.find(kid) : undefined;
      if (key?.algorithm !== alg || key === undefined) {
        throw rejected('The token', 'is not signed with a known key');
      }
      return key.key;
    },
    options,
  );
  return payload;
}

/** A signer whose key leaked for a moment can't have made tokens that live longer than their kind. */
function lifetimeOf(
  iat: unknown,
  exp: unknown,
  rules: SignedTokenRules<unknown>,
): { iat: number; exp: number } {
  const endless = rules.maxAgeSeconds === Number.POSITIVE_INFINITY;
  const end = endless && exp === undefined ? Number.POSITIVE_INFINITY : exp;
  if (!isEpochSeconds(iat) || !(isEpochSeconds(end) || (endless && end === Number.POSITIVE_INFINITY))) {
    throw rejected('The token', 'lacks a claim that it must have');
  }
  const tolerance = rules.clockToleranceSeconds ?? defaultClockToleranceSeconds;
  if (iat > Math.floor(rules.now.getTime() / 1000) + tolerance)
    throw rejected('The token', 'is not yet valid');
  if (end <= iat || end - iat > rules.maxAgeSeconds)
    throw rejected('The token', 'lives longer than its kind may');
  return { iat, exp: end };
}

function isEpochSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
