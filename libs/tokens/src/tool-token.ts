/** Tool tokens: for tools outside Mayfly, verifiable by anyone from the published keys (RFC 9068 in spirit). */
import { MayflyError, type ToolTokenClaims } from '@mayfly/contracts';
import type { SigningKeys, VerificationKeys } from './keys.ts';
import { tokenKinds, toolTokenAudienceIsAllowed } from './kinds.ts';
import { isAllowedTtl, signCompact } from './signer.ts';
import { verifySigned, type VerifyOptions } from './verifier.ts';

export interface ToolTokenOptions {
  /** `iss`: the address under which the keys are published. */
  readonly issuer: string;
  /** `aud`: the one tool that the token is for. */
  readonly audience: string;
  readonly now: Date;
  /** Whole seconds, at most 86,400. */
  readonly ttlSeconds: number;
}

export type VerifiedToolToken = ToolTokenClaims & { aud: string; iat: number; exp: number };

/**
 * Signs with the first key of the file; `alg` is the key's (`EdDSA` or `ES256`). Throws `invalid_request` for an
 * audience that is Mayfly's own, `internal` for claims or a TTL that no verifier would take.
 */
export async function signToolToken(
  keys: SigningKeys,
  claims: ToolTokenClaims,
  options: ToolTokenOptions,
): Promise<string> {
  const { typ, claims: schema, maxAgeSeconds } = tokenKinds.toolToken;
  if (!toolTokenAudienceIsAllowed(options.audience)) {
    throw new MayflyError('invalid_request', 'A tool token cannot be for one of Mayfly’s own audiences.');
  }
  const parsed = schema.safeParse(claims);
  if (!parsed.success || !isAllowedTtl(options.ttlSeconds, maxAgeSeconds)) {
    const cause = parsed.error ?? new RangeError(`refused: TTL of ${options.ttlSeconds} s for ${typ}`);
    throw new MayflyError('internal', 'A token could not be signed.', { cause });
  }
  const payload = { ...parsed.data, iss: options.issuer, aud: options.audience };
  return signCompact(await keys.signing(), typ, payload, options.now, options.ttlSeconds);
}

/**
 * For introspection (RFC 7662): the issuer checks its own token, whose audience is whoever asks, so `audience` may be
 * left out. Throws as `TokenVerifier.verify`.
 */
export async function verifyToolToken(
  keys: VerificationKeys,
  token: string,
  options: VerifyOptions & { readonly issuer: string; readonly audience?: string },
): Promise<VerifiedToolToken> {
  const verified = await verifySigned(token, {
    ...tokenKinds.toolToken,
    keys,
    algorithms: ['EdDSA', 'ES256'],
    ...options,
  });
  const { audience, iat, exp, claims } = verified;
  if (typeof audience !== 'string')
    throw new MayflyError('unauthenticated', 'The token is for several audiences.');
  return { ...claims, aud: audience, iat, exp };
}
