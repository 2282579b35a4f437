/** Reads the claims of an identity. */
import type { ClaimPath, ClaimSource, TrustRule } from '@mayfly/configuration';

export type Claims = Readonly<Record<string, unknown>>;

/**
 * The claim at a path. Keys may have dots themselves (`kubernetes.io`, `https://acme.example/role`), so a dot path is read with the
 * longest key first, at every level: `kubernetes.io.namespace` is `namespace` below `kubernetes.io`. A list of keys has one
 * reading only. Only own members of maps count, so no name reaches into a prototype or a list.
 *
 * The work is bounded by the claims, however a path is written: each of their members is reached in one way at most.
 */
export function claimAt(claims: Claims, path: ClaimPath): unknown {
  return typeof path === 'string' ? atParts(claims, path.split('.')) : atKeys(claims, path);
}

function atParts(value: unknown, parts: readonly string[]): unknown {
  if (parts.length === 0) return value;
  if (!isMap(value)) return undefined;
  for (let length = parts.length; length > 0; length--) {
    const key = parts.slice(0, length).join('.');
    if (!Object.hasOwn(value, key)) continue;
    const found = atParts(value[key], parts.slice(length));
    if (found !== undefined) return found;
  }
  return undefined;
}

function atKeys(claims: Claims, keys: readonly string[]): unknown {
  return keys.reduce<unknown>(
    (value, key) => (isMap(value) && Object.hasOwn(value, key) ? value[key] : undefined),
    claims,
  );
}

function isMap(value: unknown): value is Claims {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a source names: the rule's own value, or a claim in whatever form it has. */
export function valueOf(claims: Claims, source: ClaimSource): unknown {
  return 'value' in source ? source.value : claimAt(claims, source.claim);
}

/**
 * A part of an agent's name: text as it is, whole numbers (`run_id` of many CI systems) as JSON writes them. A number that JSON
 * can't hold exactly names nothing: two of them could become one.
 */
export function namePartOf(claims: Claims, source: ClaimSource): string | undefined {
  const value = valueOf(claims, source);
  if (typeof value === 'string') return value;
  return Number.isSafeInteger(value) ? String(value) : undefined;
}

/** Whether every required claim has (one of) the required values, exactly and as a whole. */
export function fitsRequirements(claims: Claims, required: TrustRule['require']): boolean {
  return unmetRequirement(claims, required) === undefined;
}

/** The path of the first required claim that has none of the required values. */
export function unmetRequirement(claims: Claims, required: TrustRule['require']): string | undefined {
  return Object.entries(required).find(([path, wanted]) => {
    const value = comparable(claimAt(claims, path));
    return value === undefined || !(typeof wanted === 'string' ? wanted === value : wanted.includes(value));
  })?.[0];
}

/** Strings as they are; `true` and whole numbers as YAML would write them; nothing else equals anything. */
function comparable(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  return undefined;
}
