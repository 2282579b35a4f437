/** Turns what the JOSE library says into a short reason that the asker may read. Fails closed: anything unknown is malformed. */
import { MayflyError } from '@mayfly/contracts';
import { errors } from 'jose';

/** Of a token: how long the clocks of two parties may differ, in seconds (design: 30 s). */
export const defaultClockToleranceSeconds = 30;

/** Longest token that is looked at at all, in characters; checked before anything is parsed. */
export const maxTokenLength = 65_536;

/** A refusal. `detail` is one of this library's own phrases, never a part of the token. */
export function rejected(subject: string, detail: string, cause?: unknown): MayflyError {
  return new MayflyError('unauthenticated', `${subject} ${detail}.`, cause === undefined ? {} : { cause });
}

/** The refusal for whatever verification threw; a key file or key server that failed stays what it is. */
export function rejectionOf(subject: string, cause: unknown): MayflyError {
  return cause instanceof MayflyError ? cause : rejected(subject, detailOf(cause), cause);
}

const claimDetails: Record<string, string> = {
  iss: 'has another issuer',
  aud: 'is for another audience',
  typ: 'is of another kind',
  nbf: 'is not yet valid',
  iat: 'is not yet valid',
};

function detailOf(cause: unknown): string {
  if (cause instanceof errors.JWTExpired) return cause.claim === 'iat' ? 'is too old' : 'is expired';
  if (cause instanceof errors.JWTClaimValidationFailed) {
    if (cause.reason === 'missing') return 'lacks a claim that it must have';
    return claimDetails[cause.claim] ?? 'is malformed';
  }
  if (cause instanceof errors.JOSEAlgNotAllowed) return 'is signed with an algorithm that is not accepted';
  if (
    cause instanceof errors.JWSSignatureVerificationFailed ||
    cause instanceof errors.JWKSNoMatchingKey ||
    cause instanceof errors.JWKSMultipleMatchingKeys
  ) {
    return 'is not signed with a known key';
  }
  return 'is malformed';
}
