/**
 * Verifies platform identities: JWTs of the issuers that organizations trust (RFC 7519, RFC 8725). Asymmetric signatures
 * only. It does not remember tokens: the same identity may be shown again until it expires.
 */
import { MayflyError, withinDepth } from '@mayfly/contracts';
import {
  decodeJwt,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
} from 'jose';
import { IssuerKeys, UnknownKey, type IssuerKeySource } from './issuer-keys.ts';
import { isInternalType } from './kinds.ts';
import { defaultClockToleranceSeconds, rejected, rejectionOf } from './rejection.ts';
import type { WatchOptions } from './watched-file.ts';

export interface TrustIssuer {
  /** Equals `iss` to the letter. */
  readonly issuer: string;
  /** Must be in `aud`. */
  readonly audience: string;
  /** An address (https, or http to this machine) or a file. */
  readonly jwks: IssuerKeySource;
  /** Narrows what is accepted; what is not asymmetric stays refused. Default: all of them. */
  readonly algorithms?: readonly string[];
  /** Oldest `iat`, in seconds; never more than 24 hours. Default: that. */
  readonly maxIdentityAgeSeconds?: number;
}

export interface VerifiedIdentity<Rule extends TrustIssuer = TrustIssuer> {
  readonly issuer: string;
  /** The first rule that accepted the token. */
  readonly rule: Rule;
  /** All claims, registered ones too; nested at most 16 levels deep. Untrusted in form: only the signature is checked. */
  readonly claims: Record<string, unknown>;
  /** What the token says of the key that it was signed with (RFC 7515 §4.1.1, §4.1.4). */
  readonly key: IdentityKey;
}

export interface IdentityKey {
  readonly alg: string;
  readonly kid?: string;
}

/** Longest identity token, in characters. */
const maxIdentityLength = 16_384;
/** Oldest `iat` that any rule may allow, in seconds: 24 h. */
const longestIdentityAgeSeconds = 86_400;
const maxClaimsDepth = 16;
/** Most keys that are tried for one token, so that a token without a `kid` costs bounded work under a large set (I12). */
const maxKeysTried = 16;

/** `none` and the symmetric ones (HS256 …) are not here, so no public key can ever serve as a shared secret. */
const asymmetricAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

const subject = 'The identity token';

export class IdentityVerifier {
  readonly #keys: IssuerKeys;

  constructor(options?: WatchOptions) {
    this.#keys = new IssuerKeys(options);
  }

  /**
   * The token under the first of `rules` that has its issuer and audience and whose keys verify it. Throws
   * `unauthenticated` for anything wrong with the token, `dependency_unavailable` when no rule accepted it and the keys
   * of one could not be had, or (`UnknownKey`) when the key that it names is not there so far.
   */
  async verify<Rule extends TrustIssuer>(
    token: string,
    rules: readonly Rule[],
    options: { readonly now: Date },
  ): Promise<VerifiedIdentity<Rule>> {
    const failures: Error[] = [];
    for (const rule of candidates(token, rules)) {
      try {
        const claims = await this.#verifyUnder(token, rule, options.now);
        return { issuer: rule.issuer, rule, claims, key: keyOf(token) };
      } catch (cause) {
        failures.push(rejectionOf(subject, cause));
      }
    }
    // An outage says nothing of the token; what is wrong with it under one rule says more than that another has not its key.
    throw (
      failures.find(isUnavailable) ??
      failures.find((failure) => !(failure instanceof UnknownKey)) ??
      failures[0] ??
      rejected(subject, 'is for another audience')
    );
  }

  /**
   * Whether a rule could accept a token that was signed with this key: by its algorithms, and by the keys that its issuer has now.
   * Throws `dependency_unavailable` when those can't be had.
   */
  async mayVerify(
    { jwks, algorithms }: Pick<TrustIssuer, 'jwks' | 'algorithms'>,
    key: IdentityKey,
  ): Promise<boolean> {
    if (!this.accepts(algorithms, key)) return false;
    try {
      await this.#keys.of(jwks)({ ...key }, { payload: '', signature: '' });
      return true;
    } catch (error) {
      if (error instanceof errors.JWKSMultipleMatchingKeys) return true;
      if (error instanceof MayflyError) throw error;
      return false;
    }
  }

  /** Whether a rule with these algorithms takes a token that was signed so. No key is asked for. */
  accepts(algorithms: readonly string[] | undefined, { alg }: IdentityKey): boolean {
    return acceptedAlgorithms(algorithms).includes(alg);
  }

  async #verifyUnder(token: string, rule: TrustIssuer, now: Date): Promise<JWTPayload> {
    const payload = await verifyWithAny(token, this.#keys.of(rule.jwks), {
      algorithms: acceptedAlgorithms(rule.algorithms),
      issuer: rule.issuer,
      audience: rule.audience,
      requiredClaims: ['exp'],
      maxTokenAge: Math.min(
        rule.maxIdentityAgeSeconds ?? longestIdentityAgeSeconds,
        longestIdentityAgeSeconds,
      ),
      clockTolerance: defaultClockToleranceSeconds,
      currentDate: now,
    });
    if (!withinDepth(payload, maxClaimsDepth)) throw rejected(subject, 'has claims that are nested too deep');
    return payload;
  }
}

/** Of the names of one algorithm, a rule that has either has both (RFC 9864 §2.2). */
function acceptedAlgorithms(algorithms: readonly string[] | undefined): string[] {
  const edwards = algorithms?.some((alg) => alg === 'EdDSA' || alg === 'Ed25519') ?? true;
  return asymmetricAlgorithms.filter((alg) =>
    alg === 'EdDSA' || alg === 'Ed25519' ? edwards : (algorithms?.includes(alg) ?? true),
  );
}

/**
 * Tries every key that fits: a set may have several without a `kid`, or with the same one (a rotation), and RFC 7517 §4.5 wants no
 * more of a `kid` than a hint. Everything but the signature is the same for all of them.
 */
async function verifyWithAny(
  token: string,
  keys: JWTVerifyGetKey,
  options: JWTVerifyOptions,
): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey && decodeProtectedHeader(token).kid !== undefined) {
      throw new UnknownKey(error);
    }
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    let tried = 0;
    for await (const key of error) {
      if (tried++ === maxKeysTried) break;
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (failure) {
        if (!(failure instanceof errors.JWSSignatureVerificationFailed)) throw failure;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** Of a token that was verified. */
function keyOf(token: string): IdentityKey {
  const { alg = '', kid } = decodeProtectedHeader(token);
  return { alg, ...(kid === undefined ? {} : { kid }) };
}

/** Nothing of the token is believed here: it only picks the rules that will verify it, before any key is fetched. */
function candidates<Rule extends TrustIssuer>(token: string, rules: readonly Rule[]): Rule[] {
  if (typeof token !== 'string' || token.length > maxIdentityLength) throw rejected(subject, 'is too long');
  const { typ, iss, aud } = unverified(token);
  if (typ !== undefined && (typeof typ !== 'string' || isInternalType(typ))) {
    throw rejected(subject, 'is of another kind');
  }
  const ofIssuer = rules.filter((rule) => rule.issuer === iss);
  if (ofIssuer.length === 0) throw rejected(subject, 'is from an issuer that is not trusted');
  const audiences: readonly unknown[] = [aud].flat();
  return ofIssuer.filter((rule) => audiences.includes(rule.audience));
}

function unverified(token: string): { typ?: unknown; iss?: unknown; aud?: unknown } {
  try {
    const { iss, aud } = decodeJwt(token);
    return { typ: decodeProtectedHeader(token).typ, iss, aud };
  } catch (cause) {
    throw rejected(subject, 'is malformed', cause instanceof errors.JOSEError ? cause : undefined);
  }
}

function isUnavailable(error: Error): boolean {
  return 'code' in error && error.code === 'dependency_unavailable' && !(error instanceof UnknownKey);
}
