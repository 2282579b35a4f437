/**
 * Whose tool an audience is. A tool accepts what names it in `aud`, so an audience belongs to one organization: otherwise the
 * agents of one could ask the tool of another (I5). It is never Mayfly's own, nor that of a trust rule: a tool token must not pass
 * for a token that opens a session.
 */
import type { TrustRule } from './configuration.ts';

/** As sloppy as a tool may compare: without regard to case, default ports and slashes at the end. */
function audienceKey(audience: string): string {
  const isWeb = /^https?:/i.test(audience) && URL.canParse(audience);
  return (isWeb ? new URL(audience).href : audience).toLowerCase().replace(/\/+$/, '');
}

export class Audiences {
  readonly #ofTrustRules: ReadonlySet<string>;
  readonly #owners = new Map<string, string>();

  constructor(trust: readonly Pick<TrustRule, 'audience'>[]) {
    this.#ofTrustRules = new Set(trust.map(({ audience }) => audienceKey(audience)));
  }

  /** What is wrong with it as the audience of a tool, of whichever organization. */
  problemOf(audience: string): string | undefined {
    const isOurs = this.#ofTrustRules.has(audienceKey(audience)) || /^mayfly(?:$|[-:/.])/i.test(audience);
    return isOurs
      ? '"audience" must be the tool’s own, neither Mayfly’s nor that of a trust rule'
      : undefined;
  }

  /** Takes it for an organization; the first has it. What is wrong when another has it already. */
  take(audience: string, organization: string): string | undefined {
    const key = audienceKey(audience);
    const owner = this.#owners.get(key) ?? organization;
    this.#owners.set(key, owner);
    return owner === organization
      ? undefined
      : `the audience belongs to a tool of the organization "${owner}"; a tool is one organization's, so give this one an audience of its own`;
  }
}
