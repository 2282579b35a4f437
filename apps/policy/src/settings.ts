/** Settings of policy, from the environment. */
import { milliseconds, seconds, connectionUrl, serviceSettings } from '@mayfly/service';
import { z } from 'zod';

export const PolicySettings = z.object({
  ...serviceSettings,
  /** Connection URL of the role that owns the schema `policy`. */
  MAYFLY_POSTGRES_URL: connectionUrl(),
  /** Most connections to Postgres at once. */
  MAYFLY_POSTGRES_POOL: z.coerce.number().int().min(2).max(200).default(16),
  /** File with the configuration of the very first start; not looked at once a version is stored. */
  MAYFLY_CONFIG: z.string().min(1).optional(),
  /** How often a version that another replica applied is looked for. */
  MAYFLY_CONFIG_POLL_MS: milliseconds(1_000),
  /** How long a reservation outlives its grant when nothing is heard of the lease. */
  MAYFLY_RESERVATION_HOLD_SECONDS: seconds(90),
  /**
   * At this many ended leases at an integration whose clean-up fails, their orchestration gets no more there. Enough for what goes
   * wrong by chance, and few enough for what a hostile agent leaves to stay small.
   */
  MAYFLY_FAILING_CLEANUPS_PER_ORCHESTRATION: z.coerce.number().int().min(1).max(10_000).default(20),
  /** How often the register is asked about leases that count although their time must be over, or whose clean-up fails. */
  MAYFLY_RESERVATION_CHECK_MS: milliseconds(600_000),
  /** How often sessions whose time has come are looked for. */
  MAYFLY_SESSION_SWEEP_MS: milliseconds(2_000),
});
export type PolicySettings = z.infer<typeof PolicySettings>;
