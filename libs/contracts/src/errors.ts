/**
 * The one table of error codes. Every edge converts from it: the bus sends `{error: {code, reason}}`, the gateway
 * answers RFC 9457 problem details or RFC 6749 OAuth errors, the command exits with a stable status.
 */
import { z } from 'zod';

export interface ErrorEntry {
  /** HTTP status of the problem response (RFC 9110 §15). */
  readonly status: number;
  /** `error` of the OAuth endpoints (RFC 6749 §5.2, RFC 6750 §3.1). */
  readonly oauth: string;
  /** Whether the same call may succeed later without being changed. */
  readonly retryable: boolean;
  /** Exit status of the `mayfly` command. Stable: scripts depend on it. */
  readonly exit: number;
  /** The short human title (RFC 9457 §3.1.3), the same for every occurrence. */
  readonly title: string;
}

export const errorTable = {
  invalid_request: {
    status: 400,
    oauth: 'invalid_request',
    retryable: false,
    exit: 2,
    title: 'The request is malformed',
  },
  unauthenticated: {
    status: 401,
    oauth: 'invalid_token',
    retryable: false,
    exit: 10,
    title: 'Not authenticated',
  },
  policy_denied: {
    status: 403,
    oauth: 'access_denied',
    retryable: false,
    exit: 11,
    title: 'Denied by policy',
  },
  scope_exceeded: {
    status: 403,
    oauth: 'invalid_scope',
    retryable: false,
    exit: 12,
    title: 'The scope is wider than allowed',
  },
  ttl_exceeded: {
    status: 403,
    oauth: 'invalid_request',
    retryable: false,
    exit: 13,
    title: 'The TTL is longer than allowed',
  },
  limit_exceeded: { status: 429, oauth: 'slow_down', retryable: true, exit: 14, title: 'A limit is reached' },
  lease_ended: {
    status: 409,
    oauth: 'invalid_grant',
    retryable: false,
    exit: 15,
    title: 'The lease has ended',
  },
  provider_rejected: {
    status: 502,
    oauth: 'server_error',
    retryable: false,
    exit: 16,
    title: 'The upstream refused',
  },
  provider_unavailable: {
    status: 503,
    oauth: 'temporarily_unavailable',
    retryable: true,
    exit: 17,
    title: 'The upstream is unavailable',
  },
  dependency_unavailable: {
    status: 503,
    oauth: 'temporarily_unavailable',
    retryable: true,
    exit: 18,
    title: 'A part of Mayfly is unavailable',
  },
  not_found: { status: 404, oauth: 'invalid_request', retryable: false, exit: 19, title: 'Not found' },
  conflict: {
    status: 409,
    oauth: 'invalid_request',
    retryable: true,
    exit: 20,
    title: 'Conflict with another request',
  },
  rate_limited: { status: 429, oauth: 'slow_down', retryable: true, exit: 21, title: 'Too many requests' },
  internal: { status: 500, oauth: 'server_error', retryable: false, exit: 70, title: 'Internal error' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;

export const errorCodes = Object.keys(errorTable) as [ErrorCode, ...ErrorCode[]];

export const ErrorCodeSchema = z.enum(errorCodes);

/** The error half of a bus reply. `reason` is one short sentence that the asker may read. */
export const BusError = z.strictObject({ code: ErrorCodeSchema, reason: z.string().max(500) });
export type BusError = z.infer<typeof BusError>;

/** RFC 9457 problem details, with Mayfly's `code` and the trace that an SRE can open. */
export const Problem = z.object({
  type: z.string().describe('`urn:mayfly:error:<code>`'),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: ErrorCodeSchema,
  trace_id: z.string().optional(),
  retryable: z.boolean().optional(),
});
export type Problem = z.infer<typeof Problem>;

/** `reason` of `policy_denied` for who or what an administrator has blocked. Why is told to auditors alone. */
export const blockedReason = 'blocked by an administrator';

/** RFC 6749 §5.2 error body. */
export const OAuthError = z.object({
  error: z.string(),
  error_description: z.string(),
  code: ErrorCodeSchema.optional().describe("Mayfly's own code, more exact than `error`"),
  trace_id: z.string().optional(),
});

/**
 * A failure that carries a code of the table. Thrown by adapters and handlers, never by domain functions; edges turn
 * it into a reply. `reason` may be shown to the asker, so it never contains an upstream's text; what went wrong inside
 * belongs into `cause`, which is only logged.
 */
export class MayflyError extends Error {
  override readonly name = 'MayflyError';
  constructor(
    readonly code: ErrorCode,
    readonly reason: string,
    options?: { cause?: unknown },
  ) {
    super(`${code}: ${reason}`, options);
  }
}
