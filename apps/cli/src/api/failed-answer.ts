/** Turns an error answer of the gateway, problem details (RFC 9457) or OAuth error (RFC 6749 §5.2), into a failure. */
import { OAuthError, Problem, type ErrorCode, type HttpOperation } from '@mayfly/contracts';
import { failureOf, type CommandFailure } from '../failure.ts';

export function failureOfAnswer({ http }: HttpOperation, status: number, body: unknown): CommandFailure {
  const problem = Problem.safeParse(body);
  if (problem.success) {
    const { code, detail, trace_id: traceId } = problem.data;
    return failureOf(code, detail, { traceId });
  }
  const oauth = OAuthError.safeParse(body);
  if (http.errors === 'oauth' && oauth.success) {
    const { error, error_description: reason, code, trace_id: traceId } = oauth.data;
    return failureOf(code ?? codeOfOAuthError(error, http.path), reason, { traceId });
  }
  if (unavailable.includes(status)) {
    return failureOf(
      'dependency_unavailable',
      `What is in front of the gateway answered with status ${status}.`,
    );
  }
  return failureOf('internal', `The gateway answered with an unexpected status ${status}.`, {
    next: 'Check that the URL is that of a Mayfly gateway.',
  });
}

/** What proxies answer while the gateway behind them restarts (RFC 9110 §15.6.3 to §15.6.5). */
const unavailable = [502, 503, 504];

/**
 * For an answer without Mayfly's own code, as a proxy in front of it might make one. RFC 8693 §2.2.2 makes `invalid_request` of
 * an identity that is not accepted, so at the token endpoint, to which mayfly sends nothing else that could be wrong, it means
 * "not authenticated".
 */
function codeOfOAuthError(error: string, path: string): ErrorCode {
  switch (error) {
    case 'invalid_token':
    case 'invalid_grant':
    case 'invalid_client':
      return 'unauthenticated';
    case 'invalid_request':
      return path === '/v1/token' ? 'unauthenticated' : 'invalid_request';
    case 'access_denied':
      return 'policy_denied';
    case 'slow_down':
      return 'rate_limited';
    case 'temporarily_unavailable':
      return 'dependency_unavailable';
    default:
      return 'internal';
  }
}
