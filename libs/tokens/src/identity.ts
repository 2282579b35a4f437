/**
 * Verifies platform identities: JWTs of the issuers that organizations trust (RFC 7519, RFC 8725). Asymmetric signatures
 * only. It does not remember tokens: the same identity may be shown again until it expires.
 */
import { withinDepth } from '@mayfly/contracts';
import { decodeJwt, decodeProtectedHeader, errors, jwtVerify, type JWTPayload } from 'jose';
import { IssuerKeys, type IssuerKeySource } from './issuer-keys.ts';
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
}

/** Longest identity token, in characters. */
const maxIdentityLength = 16_384;
/** Oldest `iat` that any rule may allow, in seconds: 24 h. */
const longestIdentityAgeSeconds = 86_400;
const maxClaimsDepth = 16;

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
   * of one could not be had.
   */
  async verify<Rule extends TrustIssuer>(
    token: string,
    rules: readonly Rule[],
    options: { readonly now: Date },
  ): Promise<VerifiedIdentity<Rule>> {
    const failures: Error[] = [];
    for (const rule of candidates(token, rules)) {
      try {
        return { issuer: rule.issuer, rule, claims: await this.#verifyUnder(token, rule, options.now) };
      } catch (cause) {
        failures.push(rejectionOf(subject, cause));
      }
    }
    throw failures.find(isUnavailable) ?? failures[0] ?? rejected(subject, 'is for another audience');
  }

  async #verifyUnder(token: string, rule: TrustIssuer, now: Date): Promise<JWTPayload> {
    const { payload } = await jwtVerify(token, this.#keys.of(rule.jwks), {
      algorithms: asymmetricAlgorithms.filter((alg) => rule.algorithms?.includes(alg) ?? true),
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
  return 'code' in error && error.code === 'dependency_unavailable';
}
