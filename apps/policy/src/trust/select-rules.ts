/** Which trust rules may admit an identity, by what it claims: issuer first, then audience, then `require`. Pure. */
import type { TrustRule } from '@mayfly/configuration';
import { unmetRequirement, type Claims } from './claims.ts';

export type Selection =
  | { readonly outcome: 'selected'; readonly rules: readonly TrustRule[] }
  /** `failed` is the first of the three that no rule passes; `why` is for auditors. */
  | { readonly outcome: 'none'; readonly failed: 'issuer' | 'audience' | 'require'; readonly why: string };

/** Most rules that a refusal names. */
const namedAtMost = 5;

/**
 * Nothing of `claims` needs to be verified: it only keeps signatures from being checked under rules that can't admit the identity.
 * Whoever is selected has to verify, and to look at the verified claims again.
 */
export function selectRules(rules: readonly TrustRule[], claims: Claims): Selection {
  const issuer = claims['iss'];
  const ofIssuer = rules.filter((rule) => rule.issuer === issuer);
  if (ofIssuer.length === 0) return none('issuer', `no trust rule has the issuer ${show(issuer)}`);
  const audiences: readonly unknown[] = [claims['aud']].flat();
  const ofAudience = ofIssuer.filter((rule) => audiences.includes(rule.audience));
  if (ofAudience.length === 0) {
    return none('audience', `no trust rule of the issuer has the audience ${audiences.map(show).join(', ')}`);
  }
  const unmet = ofAudience.map((rule) => ({ rule, claim: unmetRequirement(claims, rule.require) }));
  const selected = unmet.filter(({ claim }) => claim === undefined).map(({ rule }) => rule);
  if (selected.length > 0) return { outcome: 'selected', rules: selected };
  const named = unmet.slice(0, namedAtMost).map(({ rule, claim = '' }) => `${rule.name} requires ${claim}`);
  const more = unmet.length > namedAtMost ? ', …' : '';
  return none(
    'require',
    `the claims fit no trust rule of the issuer and audience: ${named.join(', ')}${more} to be otherwise`,
  );
}

function none(failed: 'issuer' | 'audience' | 'require', why: string): Selection {
  return { outcome: 'none', failed, why };
}

/** What a stranger claims, short and in one line. */
function show(value: unknown): string {
  if (value === undefined) return 'that it does not name';
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 200)) : 'that it names, which is no text';
}
