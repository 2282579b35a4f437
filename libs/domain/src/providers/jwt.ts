/** Provider `jwt`: tool tokens for one audience, with scope strings `action:resource:identifier`. */
import { exactText, text } from '@mayfly/contracts';
import { z } from 'zod';
import type { NarrowResult, ProviderDefinition } from './definition.ts';
import { describeRequestProblem, uniqueItems } from './scope-parts.ts';

/** `action:resource:identifier`; in bounds and requests a whole part may be `*`. RFC 6749 §3.3 characters less space. */
const ScopeString = text(256).regex(
  /^[\x21\x23-\x39\x3B-\x5B\x5D-\x7E]+:[\x21\x23-\x39\x3B-\x5B\x5D-\x7E]+:[\x21\x23-\x5B\x5D-\x7E]+$/,
  {
    error: 'must look like action:resource:identifier',
  },
);

const Scopes = uniqueItems(z.array(ScopeString).min(1).max(64));

export const JwtScope = z.strictObject({ scopes: Scopes });
export type JwtScope = z.infer<typeof JwtScope>;

/** Actions that only look. Any other action counts as one that writes. */
export const readingActions: readonly string[] = ['read', 'list', 'get', 'view'];

export const JwtIntegrationSettings = z.strictObject({
  /** `aud` of every token of this integration: the tool that accepts it. */
  audience: exactText(512),
});
export type JwtIntegrationSettings = z.infer<typeof JwtIntegrationSettings>;

export const JwtCredentialSettings = z.strictObject({});
export type JwtCredentialSettings = z.infer<typeof JwtCredentialSettings>;

export const JwtSecret = z.strictObject({ token: z.string(), token_type: z.literal('Bearer') });
export type JwtSecret = z.infer<typeof JwtSecret>;

/** The three parts; the identifier keeps further colons. */
function partsOf(scope: string): [string, string, string] {
  const first = scope.indexOf(':');
  const second = scope.indexOf(':', first + 1);
  return [scope.slice(0, first), scope.slice(first + 1, second), scope.slice(second + 1)];
}

/** Whether `bound` covers `asked`, part by part: only a whole-part `*` covers anything but itself. */
export function covers(bound: string, asked: string): boolean {
  const boundParts = partsOf(bound);
  return partsOf(asked).every((part, index) => boundParts[index] === '*' || boundParts[index] === part);
}

function narrow(requested: unknown, bounds: JwtScope): NarrowResult<JwtScope> {
  if (requested === undefined) return { outcome: 'narrowed', scope: bounds };
  const parsed = JwtScope.safeParse(requested);
  if (!parsed.success) return { outcome: 'malformed', reason: describeRequestProblem(parsed.error) };
  const outside = parsed.data.scopes.find((asked) => !bounds.scopes.some((bound) => covers(bound, asked)));
  if (outside !== undefined)
    return { outcome: 'exceeded', reason: `the scope ${outside} is beyond those of the credential` };
  return { outcome: 'narrowed', scope: parsed.data };
}

export const jwtDefinition: ProviderDefinition<JwtIntegrationSettings, JwtCredentialSettings, JwtScope> = {
  name: 'jwt',
  integrationSettings: JwtIntegrationSettings,
  credentialSettings: JwtCredentialSettings,
  scope: JwtScope,
  secret: JwtSecret,
  secretReferences: () => [],
  narrow,
  writes: (scope) => scope.scopes.some((item) => !readingActions.includes(partsOf(item)[0])),
  // A signed token can't be called back: tools that must know sooner introspect it.
  revocability: () => ({ kind: 'expiry_only' }),
  renewal: 'rotation',
};
