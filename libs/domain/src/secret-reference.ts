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
 * Whether an organization whose prefixes these are may use this reference (I5). `env:ORDERS_` allows the variables whose
 * names begin so; `file:/run/secrets/acme/` the files below that folder. A prefix without a slash at its end allows
 * that one file. Symbolic links are for whoever opens the file to refuse.
 */
export function mayUseReference(reference: string, prefixes: readonly string[]): boolean {
  if (!SecretReference.safeParse(reference).success) return false;
  return prefixes.some((prefix) =>
    prefix.startsWith('file:') && !prefix.endsWith('/') ? reference === prefix : reference.startsWith(prefix),
  );
}
