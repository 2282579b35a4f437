/** Whether a document still admits who applies it, decided by the very proof that opened the session. */
import { MayflyError } from '@mayfly/contracts';
import type { Configuration, TrustRule } from '@mayfly/configuration';
import type { IdentityKey } from '@mayfly/tokens';
import { holds } from '../authorization/authorize-act.ts';
import type { Proof } from '../store/session-proofs.ts';
import { deriveSession } from '../trust/derive-session.ts';
import { selectRules } from '../trust/select-rules.ts';

/** Of `IdentityVerifier`. */
export interface KeyJudge {
  accepts(algorithms: readonly string[], key: IdentityKey): boolean;
  mayVerify(rule: Pick<TrustRule, 'jwks' | 'algorithms'>, key: IdentityKey): Promise<boolean>;
}

/** Most key sets that are asked for, and for how long one may still be begun (each takes seconds): in milliseconds. */
const mostKeySets = 8;
const longestAskingMs = 5_000;

/**
 * Why the same proof, shown again, would open no session that may apply a configuration under `after`; undefined when it would.
 * The proof is judged as when a session is opened; only its age does not count, since its holder can have a new one like it. In doubt it
 * is locked out: without a proof, and when the keys of a rule that names another key set can't be had, or are more than can be asked for.
 */
export async function lockOutBy(
  after: Configuration,
  proof: Proof | undefined,
  keys: KeyJudge,
): Promise<string | undefined> {
  if (proof === undefined) return 'it is not known by what proof your session was opened; open another one';
  const selection = selectRules(after.trust, proof.claims);
  if (selection.outcome === 'none') return `it would not admit you: ${selection.why}`;
  let unavailable: string | undefined;
  const asking = { left: mostKeySets, until: performance.now() + longestAskingMs };
  for (const rule of selection.rules) {
    const keyed = await hasKey(rule, proof, keys, asking);
    if (keyed === 'unavailable')
      unavailable ??= `the keys of its trust rule "${rule.name}" cannot be fetched`;
    if (keyed !== true) continue;
    const organization = after.organizations.get(rule.organization);
    if (organization === undefined) continue;
    const { trustDomain } = organization;
    const derived = deriveSession(rule, { id: rule.organization, trustDomain }, proof.claims);
    if (derived.outcome === 'refused') return `it would not admit you: ${derived.why}`;
    return holds(derived.identity, 'platform_administrator')
      ? undefined
      : `its trust rule "${rule.name}" would admit you without the role platform_administrator`;
  }
  return (
    unavailable ??
    'no trust rule that fits you has the key, or the algorithm, that your identity was signed with'
  );
}

/** The key set that the proof was verified with still has its key, so an issuer that is away keeps nobody from applying. */
async function hasKey(
  rule: TrustRule,
  proof: Proof,
  keys: KeyJudge,
  asking: { left: number; readonly until: number },
): Promise<boolean | 'unavailable'> {
  if (!keys.accepts(rule.algorithms, proof.key)) return false;
  if (sameSource(rule.jwks, proof.jwks)) return true;
  if (asking.left-- <= 0 || performance.now() > asking.until) return 'unavailable';
  try {
    return await keys.mayVerify(rule, proof.key);
  } catch (error) {
    if (error instanceof MayflyError && error.code === 'dependency_unavailable') return 'unavailable';
    throw error;
  }
}

function sameSource(a: TrustRule['jwks'], b: TrustRule['jwks']): boolean {
  return 'url' in a ? 'url' in b && a.url === b.url : 'file' in b && a.file === b.file;
}

/** Whether anybody at all could be a platform administrator: for who applies a document without a session. */
export function admitsAnAdministrator({ trust }: Configuration): boolean {
  return trust.some(
    (rule) =>
      rule.as === 'person' &&
      Object.values(rule.personRoles?.values ?? {}).includes('platform_administrator'),
  );
}
