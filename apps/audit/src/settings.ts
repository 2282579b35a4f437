/** Settings of the audit service. */
import { milliseconds, connectionUrl, serviceSettings } from '@mayfly/service';
import { z } from 'zod';

export const AuditSettings = z.object({
  ...serviceSettings,
  /** Connection URL of the role that owns the schema `audit`. Secret. */
  MAYFLY_POSTGRES_URL: connectionUrl(),
  /** Connections to Postgres. */
  MAYFLY_POSTGRES_POOL: z.coerce.number().int().min(2).max(100).default(8),
  /** File outside Postgres that signed checkpoints are appended to. Keep it on another machine or volume than Postgres. */
  MAYFLY_CHECKPOINT_FILE: z.string().min(1),
  /** How often the end of the chain is signed. */
  MAYFLY_CHECKPOINT_MS: milliseconds(10_000),
});
export type AuditSettings = z.infer<typeof AuditSettings>;
