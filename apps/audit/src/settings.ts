/** Settings of the audit service. */
import { milliseconds, connectionUrl, serviceSettings } from '@mayfly/service';
import { z } from 'zod';

/** Seconds of each unit that a duration may be told in. */
const unitSeconds = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** `90s`, `15m`, `6h`, `1d`, at most 20 days, which is what timers take, as milliseconds; `0` switches off. */
function durationOrOff(defaultValue: string) {
  return z
    .string()
    .regex(/^(?:0|[1-9]\d{0,6}[smhd])$/, { error: 'must be a duration such as 5m, 6h or 1d, or 0 for never' })
    .default(defaultValue)
    .transform((text) => {
      const unit = text.slice(-1) as keyof typeof unitSeconds;
      return text === '0' ? 0 : Number(text.slice(0, -1)) * unitSeconds[unit] * 1000;
    })
    .refine((milliseconds) => milliseconds <= 20 * 86_400_000, { error: 'must be 20d at most' });
}

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
  /** How often the service verifies what has been written since the last time; `0` for never. Milliseconds here. */
  MAYFLY_AUDIT_VERIFY_INTERVAL: durationOrOff('5m'),
  /** How often it verifies the whole log, with all indexes, instead; `0` for never. Milliseconds here. */
  MAYFLY_AUDIT_VERIFY_FULL_INTERVAL: durationOrOff('1d'),
});
export type AuditSettings = z.infer<typeof AuditSettings>;
