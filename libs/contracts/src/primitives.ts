/**
 * The small shapes that many contracts share, each with the bound that it imposes (I12: nothing unbounded comes in).
 */
import { z } from 'zod';

export * from './identifiers.ts';

/** Text that has a UTF-8 form (an unpaired surrogate, as JSON can write it, has none). */
export const WellFormed = z
  .string()
  .refine((value) => value.isWellFormed(), { error: 'must not contain unpaired surrogates' });

/**
 * Text without control characters or unpaired surrogates: no NUL reaches Postgres, no line break reaches a log line or a
 * header, and jsonb can store it.
 */
export function text(maxLength: number) {
  return WellFormed.min(1)
    .max(maxLength)
    .refine((value) => !/\p{Cc}/u.test(value), { error: 'must not contain control characters' });
}

/** RFC 3339 instant in UTC (`Z`), in a year that any clock of ours may show; Postgres takes every one of them. */
export const Instant = z.iso
  .datetime()
  .regex(/^[12]\d{3}-/, { error: 'must be an instant such as 2030-01-31T12:00:00Z' });

/** Whole seconds. */
export const Seconds = z.int().min(1).max(86_400);

/** W3C `traceparent` header value, version 00. */
export const Traceparent = z.string().regex(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/);

/** A compact JWE: five base64url parts (RFC 7516 §7.1). The type marks what the bus may carry of a secret. */
export const Sealed = z
  .string()
  .max(131_072)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);

/** A compact JWS: three base64url parts (RFC 7515 §7.1). */
export const Signed = z
  .string()
  .max(65_536)
  .regex(/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/);

/** Public key that a secret is sealed to: X25519 (RFC 8037 §2) or P-256 (RFC 7518 §6.2). Private parts are refused. */
export const RecipientKey = z.union([
  z.strictObject({
    kty: z.literal('OKP'),
    crv: z.literal('X25519'),
    x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    kid: text(128).optional(),
    use: z.literal('enc').optional(),
    alg: z.literal('ECDH-ES').optional(),
  }),
  z.strictObject({
    kty: z.literal('EC'),
    crv: z.literal('P-256'),
    x: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    y: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
    kid: text(128).optional(),
    use: z.literal('enc').optional(),
    alg: z.literal('ECDH-ES').optional(),
  }),
]);
export type RecipientKey = z.infer<typeof RecipientKey>;

/** Deepest nesting that a scope or any other free JSON value may have. */
export const maxJsonDepth = 8;

/** A JSON object in a provider's own form, at most 8 levels deep; the provider's schema decides what it means. */
export const JsonObject = z
  .record(z.string().max(128), z.json())
  .refine((value) => withinDepth(value, maxJsonDepth), {
    error: `must not be nested deeper than ${maxJsonDepth} levels`,
    abort: true,
  })
  .refine(isStorable, { error: 'must not contain NUL or unpaired surrogates' });
export type JsonObject = z.infer<typeof JsonObject>;

/** Whether a JSON value is nested at most `depth` levels. Stops at the first branch that is deeper. */
export function withinDepth(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (depth === 0) return false;
  return Object.values(value).every((child) => withinDepth(child, depth - 1));
}

/** Whether every key and text of a JSON value can be stored as jsonb: no NUL, no unpaired surrogate. */
function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return value.isWellFormed() && !value.includes('\0');
  if (typeof value !== 'object' || value === null) return true;
  return Object.entries(value).every(([key, child]) => isStorable(key) && isStorable(child));
}

/** How a lease can be ended early, told honestly. `eventual` is within `within_seconds`. */
export const Revocability = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('immediate') }),
  z.strictObject({ kind: z.literal('eventual'), within_seconds: z.int().min(1) }),
  z.strictObject({ kind: z.literal('expiry_only') }),
]);
export type Revocability = z.infer<typeof Revocability>;

/**
 * How a lease may be renewed. `in_place`: the same secret goes on working until a later instant. `rotation`: a successor
 * lease with a secret of its own, and the old one ends `grace_seconds` later.
 */
export const Renewal = z.strictObject({
  kind: z.enum(['in_place', 'rotation']),
  /** From the grant of the first lease to the end of the last renewal, in seconds. */
  max_life_seconds: Seconds,
  /** Renewals altogether, whether in place or by rotation. */
  max_count: z.int().min(1).max(1_000),
  /** How long the old lease goes on beside its successor, in seconds. */
  grace_seconds: z.int().min(0).max(300),
});
export type Renewal = z.infer<typeof Renewal>;

/** States of a lease; the moves between them are in `@mayfly/domain`. */
export const leaseStates = [
  'intended',
  'active',
  'failed',
  'orphaned',
  'revoking',
  'revocation_failed',
  'expired',
  'revoked',
] as const;
export const LeaseState = z.enum(leaseStates);
export type LeaseState = z.infer<typeof LeaseState>;

/** What of a minted secret is known to auditors: the name of a part and the SHA-256 of its value, hex. */
export const Fingerprint = z.strictObject({ part: text(64), sha256: z.string().regex(/^[0-9a-f]{64}$/) });
export type Fingerprint = z.infer<typeof Fingerprint>;

/** What of the minted thing shows up in the upstream's own logs: `{"postgres.role": "mayfly_…"}`. */
export const UseKeys = z.record(z.string().max(64), z.string().max(512));
export type UseKeys = z.infer<typeof UseKeys>;

export { SourceIp } from './source-address.ts';

/** Roles of people, from verified claims. `platform_administrator` may change the whole configuration document. */
export const PersonRole = z.enum(['administrator', 'auditor', 'platform_administrator']);
export type PersonRole = z.infer<typeof PersonRole>;

/** How long a session that asked for it may go unheard, in seconds. */
export const HeartbeatSeconds = z.int().min(10).max(300);

/** What the lease ids of one integration of one installation end with. */
export const LeaseMark = z.string().regex(/^[0-9a-f]{10}$/);
