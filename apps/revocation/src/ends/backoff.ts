/** When to try again what an upstream did not do. */

export interface Backoff {
  readonly firstMs: number;
  readonly longestMs: number;
}

/**
 * Milliseconds to wait after attempt number `attempts` (from 1) has failed: the first wait, doubled with each attempt up
 * to the longest, of which a random part of up to a half is cut off so that what failed together does not return together.
 */
export function retryWaitMs(
  attempts: number,
  { firstMs, longestMs }: Backoff,
  random: () => number = Math.random,
): number {
  const full = Math.min(longestMs, firstMs * 2 ** Math.min(Math.max(attempts, 1) - 1, 40));
  return full * (1 - random() / 2);
}
