/** Where a secret is, never the secret: `env:NAME` or `file:/absolute/path`. Resolved by minting alone. */
import { exactText } from '@mayfly/contracts';

const form = /^(?:env:[A-Za-z_][A-Za-z0-9_]*|file:\/[^\0]+)$/;

/** A path that leads where it reads as leading: no `.`, no `..` and no empty segment, so that comparing prefixes is safe. */
function isPlain(reference: string): boolean {
  if (!reference.startsWith('file:')) return true;
  const segments = reference.slice('file:/'.length).split('/');
  return segments.every((segment) => segment !== '' && segment !== '.' && segment !== '..');
}

export const SecretReference = exactText(512)
  .regex(form, {
    error: 'must be a secret reference such as env:NAME or file:/path, never the secret itself',
  })
  .refine(isPlain, { error: 'must be a plain path: no ".", ".." or empty segment' });

/**
 * Whether an organization whose prefixes these are may use this reference (I5). A prefix is a piece of text: `env:ORDERS_` allows the
 * variables whose names begin so, `file:/run/secrets/acme/` the files below that folder, `file:/run/secrets/acme-` the files whose
 * paths begin so. This is the one rule, for checking documents and for reading. Which real file a path leads to is for whoever opens
 * it to look at.
 */
export function mayUseReference(reference: string, prefixes: readonly string[]): boolean {
  return prefixesFor(reference, prefixes).length > 0;
}

/** Those of the prefixes that allow this reference; none for what is no reference at all. */
export function prefixesFor(reference: string, prefixes: readonly string[]): string[] {
  if (!SecretReference.safeParse(reference).success) return [];
  return prefixes.filter((prefix) => prefix.length > 0 && reference.startsWith(prefix));
}
