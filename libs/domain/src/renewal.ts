/**
 * How far a lease may be renewed: never past its maximum life, its number of renewals, the end of its session or the
 * longest TTL of its credential, each as the configuration says now.
 */
import { decideTtl, type TtlBounds } from './ttl.ts';

/** Longest life that a configuration may give, renewals included, in seconds. */
export const absoluteMaxLifeSeconds = 86_400;

/** What `renewal:` of a credential leaves out. */
export const renewalDefaults = { maxCount: 10, graceSeconds: 30 } as const;

export interface RenewalTerms {
  /** From the grant of the first lease to the end of the last renewal, in seconds. */
  readonly maxLifeSeconds: number;
  /** Renewals altogether. */
  readonly maxCount: number;
  /** How long a rotated lease goes on beside its successor, in seconds. */
  readonly graceSeconds: number;
}

/** What a renewal starts from. */
export interface RenewedLease {
  /** When the first lease of the chain was granted. */
  readonly startedAt: Date;
  /** Renewals so far. */
  readonly renewals: number;
  /** What it was granted with: a renewal that asks for nothing gets as much again. */
  readonly ttlSeconds: number;
}

/** What cut a renewal short; `ttl` when nothing did. */
export type RenewalLimit = 'ttl' | 'max_life' | 'session';

export type RenewalDecision =
  | {
      readonly outcome: 'granted';
      /** Whole seconds from `now`, at least 1. */
      readonly ttlSeconds: number;
      readonly expiresAt: Date;
      readonly limit: RenewalLimit;
      readonly adjusted?: { readonly requestedSeconds: number; readonly reason: string };
    }
  | { readonly outcome: 'too_often'; readonly maxCount: number }
  /** Longer than the credential's longest TTL, in seconds. */
  | { readonly outcome: 'exceeded'; readonly maxSeconds: number }
  /** Nothing is left of the maximum life, or of the session. */
  | { readonly outcome: 'at_end'; readonly limit: Exclude<RenewalLimit, 'ttl'> };

/** As at a mint, more than the credential's longest TTL is refused, and what must end sooner is cut and told. */
export function decideRenewal(
  requestedSeconds: number | undefined,
  bounds: TtlBounds,
  terms: RenewalTerms,
  lease: RenewedLease,
  sessionExpiresAt: Date,
  now: Date,
): RenewalDecision {
  // Written so that what is not a number is refused.
  if (!(lease.renewals < terms.maxCount)) return { outcome: 'too_often', maxCount: terms.maxCount };
  const wanted = requestedSeconds ?? Math.min(lease.ttlSeconds, bounds.maxSeconds);
  const ttl = decideTtl(wanted, bounds, Infinity);
  if (ttl.outcome === 'exceeded') return ttl;
  const life = secondsBetween(now, lease.startedAt) + terms.maxLifeSeconds;
  const session = secondsBetween(now, sessionExpiresAt);
  const limit = life <= session ? 'max_life' : 'session';
  const most = Math.floor(Math.min(life, session));
  if (!(most >= 1)) return { outcome: 'at_end', limit };
  const ttlSeconds = Math.min(ttl.ttlSeconds, most);
  return {
    outcome: 'granted',
    ttlSeconds,
    expiresAt: new Date(now.getTime() + ttlSeconds * 1000),
    ...(ttlSeconds === ttl.ttlSeconds
      ? { limit: 'ttl' as const }
      : { limit, adjusted: { requestedSeconds: ttl.ttlSeconds, reason: limitReasons[limit] } }),
  };
}

/** What an asker is told of a limit. */
const limitReasons = {
  max_life: 'it reaches its maximum life before',
  session: 'the session ends before',
} as const;

/** Negative for what is before `from`. */
function secondsBetween(from: Date, to: Date): number {
  return (to.getTime() - from.getTime()) / 1000;
}
