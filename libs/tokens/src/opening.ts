/** What opening a sealed value and opening a handle have in common: one bound, one refusal that says nothing more. */
import type { KeyObject } from 'node:crypto';
import { MayflyError, Sealed } from '@mayfly/contracts';
import { parseJwe, type CompactJwe } from './jwe.ts';

export interface NamedKey {
  readonly kid: string;
  readonly key: KeyObject;
}

export interface NamedJwe extends CompactJwe {
  /** The `kid` that the JWE names, unverified. */
  readonly kid: string | undefined;
}

/** Throws `invalid_request` before parsing what is too large or no compact JWE. */
export function readSealed(jwe: string): NamedJwe {
  const parsed = Sealed.safeParse(jwe).success ? parseJwe(jwe) : undefined;
  const kid = parsed?.header['kid'];
  if (parsed === undefined || (kid !== undefined && typeof kid !== 'string')) throw openFailed();
  return { ...parsed, kid };
}

/** Always the same words: which check failed is no one's business. */
export function openFailed(): MayflyError {
  return new MayflyError('invalid_request', 'The sealed value cannot be opened.');
}
