/** Verifies tokens of one kind for one audience. */
import type { MayflyError } from '@mayfly/contracts';
import type { z } from 'zod';
import { decodeJson, hasOnly, type Members } from './compact.ts';
import type { SignatureAlgorithm } from './jwk.ts';
import { isSignedWith, parseJws, type CompactJws } from './jws.ts';
import type { VerificationKey, VerificationKeys } from './keys.ts';
import type { TokenKind } from './kinds.ts';
import { defaultClockToleranceSeconds, maxTokenLength, rejected } from './rejection.ts';

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
  if (typeof token !== 'string' || token.length > maxTokenLength) throw refused('is malformed');
  const payload = await verifySignature(token, rules);
  const audience = audienceOf(payload, rules);
  const times = lifetimeOf(payload, rules);
  const claims = rules.claims.safeParse(ownClaims(payload));
  if (!claims.success) throw refused('has claims that its kind does not have', claims.error);
  return { claims: claims.data, audience, ...times };
}

/** What is left for the kind's schema: strict, so a claim too many is refused. */
function ownClaims(payload: Members): Members {
  const own: Record<string, unknown> = { ...payload };
  for (const registered of ['iss', 'aud', 'iat', 'nbf', 'exp']) delete own[registered];
  return own;
}

/** The payload, once key, signature and `typ` are right. Until then no part of it is as much as decoded. */
async function verifySignature(token: string, rules: SignedTokenRules<unknown>): Promise<Members> {
  const jws = parseJws(token);
  if (jws === undefined || !hasOnly(jws.header, headerMembers)) throw refused('is malformed');
  const key = await keyOf(jws, rules);
  if (!isSignedWith(key, jws)) throw refused('is not signed with a known key');
  if (jws.header['typ'] !== rules.typ) throw refused('is of another kind');
  const payload = decodeJson(jws.encodedPayload);
  if (payload === undefined) throw refused('is malformed');
  return payload;
}

/** All that a header of ours has; in none is there anything to understand beyond these. */
const headerMembers = new Set(['alg', 'kid', 'typ']);

async function keyOf({ header }: CompactJws, rules: SignedTokenRules<unknown>): Promise<VerificationKey> {
  const { alg, kid } = header;
  if (!rules.algorithms.some((accepted) => accepted === alg)) {
    throw refused('is signed with an algorithm that is not accepted');
  }
  const key = typeof kid === 'string' ? await rules.keys.find(kid) : undefined;
  if (key?.algorithm !== alg || key === undefined) throw refused('is not signed with a known key');
  return key;
}

function audienceOf({ iss, aud }: Members, rules: SignedTokenRules<unknown>): string | string[] {
  if (iss === undefined || aud === undefined) throw refused('lacks a claim that it must have');
  if (iss !== rules.issuer) throw refused('has another issuer');
  const audience = isAudience(aud) ? aud : [];
  const isMeant =
    rules.audience === undefined ? audience.length > 0 : [audience].flat().includes(rules.audience);
  if (!isMeant) throw refused('is for another audience');
  return audience;
}

function isAudience(aud: unknown): aud is string | string[] {
  return typeof aud === 'string' || (Array.isArray(aud) && aud.every((each) => typeof each === 'string'));
}

/**
 * RFC 7519 §4.1.4 to §4.1.6, and no longer than the kind allows: a signer whose key leaked for a moment can't have made
 * tokens that live longer.
 */
function lifetimeOf(
  { iat, nbf, exp }: Members,
  rules: SignedTokenRules<unknown>,
): { iat: number; exp: number } {
  const endless = rules.maxAgeSeconds === Number.POSITIVE_INFINITY;
  const end = endless && exp === undefined ? Number.POSITIVE_INFINITY : exp;
  if (!isEpochSeconds(iat) || !(isEpochSeconds(end) || (endless && end === Number.POSITIVE_INFINITY))) {
    throw refused('lacks a claim that it must have');
  }
  if (nbf !== undefined && typeof nbf !== 'number') throw refused('is not yet valid');
  const now = Math.floor(rules.now.getTime() / 1000);
  const tolerance = rules.clockToleranceSeconds ?? defaultClockToleranceSeconds;
  if (Math.max(iat, nbf ?? iat) > now + tolerance) throw refused('is not yet valid');
  if (end <= now - tolerance) throw refused('is expired');
  if (end <= iat || end - iat > rules.maxAgeSeconds) throw refused('lives longer than its kind may');
  return { iat, exp: end };
}

function isEpochSeconds(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function refused(detail: string, cause?: unknown): MayflyError {
  return rejected('The token', detail, cause);
}
