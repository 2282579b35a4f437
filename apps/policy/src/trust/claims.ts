/** Reads the claims of a verified identity. */
import type { ClaimSource, TrustRule } from '@mayfly/configuration';

/**
 * The claim at a dot path; a claim whose name has dots itself (`https://acme.example/role`) is found by its whole name
 * first. Only own members count, so no name reaches into a prototype.
 */
export function claimAt(claims: Readonly<Record<string, unknown>>, path: string): unknown {
  if (Object.hasOwn(claims, path)) return claims[path];
  let value: unknown = claims;
  for (const part of path.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    if (!Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** What a source names: the rule's own value, or a claim in whatever form it has. */
export function valueOf(claims: Readonly<Record<string, unknown>>, source: ClaimSource): unknown {
  return 'value' in source ? source.value : claimAt(claims, source.claim);
}

/** Whether every required claim has (one of) the required values, exactly and as a whole. */
export function fitsRequirements(
  claims: Readonly<Record<string, unknown>>,
  required: TrustRule['require'],
): boolean {
  return Object.entries(required).every(([path, wanted]) => {
    const value = comparable(claimAt(claims, path));
    return value !== undefined && (typeof wanted === 'string' ? wanted === value : wanted.includes(value));
  });
}

/** Strings as they are; `true` and whole numbers as YAML would write them; nothing else equals anything. */
function comparable(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  return undefined;
}
