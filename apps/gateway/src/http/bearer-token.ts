/** `Authorization: Bearer …` (RFC 6750 §2.1). */
import { MayflyError } from '@mayfly/contracts';

/** No token of Mayfly's is longer. */
export const maxTokenLength = 16_384;

/** The token of the header. Throws `unauthenticated` when there is none in the form of RFC 6750. */
export function readBearerToken(authorization: string | undefined): string {
  if (authorization === undefined) {
    throw new MayflyError(
      'unauthenticated',
      'an Authorization header with a session token is needed; POST /v1/token gives one',
    );
  }
  const match = /^Bearer ([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization.slice(0, maxTokenLength + 8));
  if (match?.[1] === undefined || match[1].length > maxTokenLength) {
    throw new MayflyError('unauthenticated', 'the Authorization header must be "Bearer <session token>"');
  }
  return match[1];
}
