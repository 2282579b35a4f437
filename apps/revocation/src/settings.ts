/** Settings of revocation. Timers have the design's defaults; tests scale them down. */
import { loadSettings, milliseconds, seconds, connectionUrl, serviceSettings } from '@mayfly/service';
import { z } from 'zod';

const count = (defaultValue: number, most: number) =>
  z.coerce.number().int().min(1).max(most).default(defaultValue);

export const RevocationSettings = z.object({
  ...serviceSettings,
  /** Connection to the database with schema `revocation`. */
  MAYFLY_POSTGRES_URL: connectionUrl(),
  /** Connections to Postgres at once. */
  MAYFLY_POSTGRES_POOL: count(20, 200),
  /** An intent without activation becomes an orphan after this; by Postgres' clock. */
  MAYFLY_ORPHAN_AFTER_MS: milliseconds(60_000),
  /**
   * How long nothing may be heard of a replica whose connection to Postgres is still there before the others take over what it has
   * claimed: its machine may be gone. It beats six times within it. Of one whose process has died they know by its connection.
   */
  MAYFLY_REPLICA_SILENT_MS: milliseconds(1_500),
  /** Longest time between two looks for due work; the next due time and nudges come earlier. */
  MAYFLY_DUE_POLL_MS: milliseconds(1_000),
  /** Leases ended at their providers at once, over all integrations and for each. */
  MAYFLY_END_CONCURRENCY: count(64, 1_000),
  MAYFLY_END_CONCURRENCY_PER_INTEGRATION: count(32, 1_000),
  /** Clean-ups after ends at once, over all integrations and for each: they are slow where a lease made them so. */
  MAYFLY_CLEANUP_CONCURRENCY: count(8, 1_000),
  MAYFLY_CLEANUP_CONCURRENCY_PER_INTEGRATION: count(2, 1_000),
  /** Most ends and clean-ups that begin within a second at one integration. */
  MAYFLY_END_RATE_PER_INTEGRATION: count(5_000, 1_000_000),
  /** Wait after the first failed attempt; it doubles up to the longest, with jitter. */
  MAYFLY_RETRY_FIRST_MS: milliseconds(1_000),
  MAYFLY_RETRY_LONGEST_MS: milliseconds(300_000),
  /** Failed attempts after which a lease is `revocation_failed`: still retried, but loud. */
  MAYFLY_LOUD_AFTER: count(6, 1_000),
  /** How long minting may be silent about an end: the delay when it dies at work. A slow upstream is waited for. */
  MAYFLY_END_ATTEMPT_MS: milliseconds(2_000),
  /** Failures in a row after which an integration is left alone, and for how long at a time. */
  MAYFLY_BREAKER_FAILURES: count(5, 1_000),
  MAYFLY_BREAKER_OPEN_MS: milliseconds(3_000),
  /** How long somebody who asks for an end is kept waiting for it. */
  MAYFLY_END_ANSWER_MS: milliseconds(5_000),
  /** How long a revocation can be asked for after all of its leases have ended. */
  MAYFLY_REVOCATION_KEEP_DAYS: count(30, 3_650),
  /** Between two comparisons of what is there upstream with the register, over all replicas. */
  MAYFLY_SWEEP_MS: milliseconds(600_000),
  /** Upstream, what is younger than this is left alone by the comparison: its mint or end may be under way. */
  MAYFLY_SWEEP_GRACE_MS: milliseconds(300_000),
  /**
   * Between two reminders of minting that leases live at an upstream, so that it holds a connection there for their ends. Each replica
   * reminds it.
   */
  MAYFLY_ATTENDANCE_MS: milliseconds(15_000),
  /** How long a lease that has ended is kept in the register. The audit log keeps its story. */
  MAYFLY_LEASE_KEEP_DAYS: count(30, 3_650),
  MAYFLY_FENCE_KEEP_SECONDS: seconds(7_200),
  /**
   * How far the clock that stamps grants may be ahead of Postgres' clock, by which fences are set. 0, because policy
   * stamps grants by Postgres' clock.
   */
  MAYFLY_FENCE_TOLERANCE_MS: z.coerce.number().int().min(0).max(60_000).default(0),
});
export type RevocationSettings = z.infer<typeof RevocationSettings>;

/** Parses the environment, or ends the process with one sentence per wrong setting. */
export function revocationSettings(): RevocationSettings {
  return loadSettings(RevocationSettings);
}
