/** How long a lease lives: asked for, bounded by the credential, cut at the end of the session. All in seconds. */

/** Nothing lives longer than this, whatever the configuration says. */
export const absoluteMaxTtlSeconds = 3600;

/** A credential without a `ttl` of its own. */
export const defaultTtlSeconds = 300;

export interface TtlBounds {
  readonly defaultSeconds: number;
  readonly maxSeconds: number;
}

export type TtlDecision =
  | {
      readonly outcome: 'granted';
      readonly ttlSeconds: number;
      readonly adjusted?: { readonly requestedSeconds: number; readonly reason: string };
    }
  | { readonly outcome: 'exceeded'; readonly maxSeconds: number };

/**
 * Decides the effective TTL. Asking for more than the credential's maximum is refused, since an agent that wants an hour
 * and silently gets a minute fails later and worse; being cut at the session's end is told as an adjustment.
 */
export function decideTtl(
  requestedSeconds: number | undefined,
  bounds: TtlBounds,
  sessionRemainingSeconds: number,
): TtlDecision {
  const maxSeconds = Math.min(bounds.maxSeconds, absoluteMaxTtlSeconds);
  const wanted = requestedSeconds ?? Math.min(bounds.defaultSeconds, maxSeconds);
  // Written so that what is not a number is refused.
  if (!(wanted <= maxSeconds)) return { outcome: 'exceeded', maxSeconds };
  const remaining = Math.floor(sessionRemainingSeconds);
  if (wanted <= remaining) return { outcome: 'granted', ttlSeconds: wanted };
  if (!(remaining >= 1)) return { outcome: 'exceeded', maxSeconds: 0 };
  return {
    outcome: 'granted',
    ttlSeconds: remaining,
    adjusted: { requestedSeconds: wanted, reason: 'the session ends before' },
  };
}
