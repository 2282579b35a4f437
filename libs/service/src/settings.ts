/** Settings of a service: one zod schema over the environment, parsed once at start, injected typed. */
import { ambiguityOf, Secret } from '@mayfly/domain';
import { z } from 'zod';

/**
 * A PostgreSQL connection URL, wrapped at once, so that it prints as `[redacted]`. Of one whose password has a raw `/` or `@` a piece
 * would be told as a host that can't be found.
 */
export function connectionUrl() {
  return z
    .string()
    .superRefine((value, context) => {
      const message = ambiguityOf(value);
      if (message !== undefined) context.addIssue({ code: 'custom', message });
    })
    .transform((value) => new Secret(value));
}

/** Whole milliseconds, with a default. */
export function milliseconds(defaultValue: number) {
  return z.coerce.number().int().min(1).max(86_400_000).default(defaultValue);
}

/** Whole seconds, with a default. */
export function seconds(defaultValue: number) {
  return z.coerce.number().int().min(1).max(86_400).default(defaultValue);
}

/** What every service reads from its environment. OpenTelemetry is configured by the standard `OTEL_*` alone. */
export const serviceSettings = {
  /** Port of the operations listener: health, readiness and metrics. 0 takes any free one. */
  MAYFLY_OPERATIONS_PORT: z.coerce.number().int().min(0).max(65_535).default(0),
  /** Address of the operations listener. It is for probes and scrapers, and for nobody who may not know how Mayfly is doing. */
  MAYFLY_OPERATIONS_BIND: z.string().default('127.0.0.1'),
  /** One or more NATS URLs, separated by commas. */
  MAYFLY_NATS_URL: z.string().min(1),
  /** File with the NKEY seed of this service's NATS user; without one, it connects without authentication. */
  MAYFLY_NATS_SEED_FILE: z.string().min(1).optional(),
  /** PEM file with the CA of the NATS servers; with it, TLS is demanded. */
  MAYFLY_NATS_CA: z.string().min(1).optional(),
  /** Folder of key files: `<service>/` for its own, `public/` for those it verifies with. */
  MAYFLY_KEYS: z.string().min(1),
  /** As the set-up step `streams` has them: what the streams are compared with. */
  MAYFLY_STREAM_REPLICAS: z.coerce.number().int().min(1).max(5).optional(),
  MAYFLY_EVENTS_BYTES: z.coerce.number().int().min(1).optional(),
  MAYFLY_SIGNALS_BYTES: z.coerce.number().int().min(1).optional(),
  MAYFLY_DEAD_BYTES: z.coerce.number().int().min(1).optional(),
  MAYFLY_ACK_WAIT_MS: z.coerce.number().int().min(1).max(3_600_000).optional(),
  MAYFLY_LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
} as const;

export type ServiceSettings = z.infer<z.ZodObject<typeof serviceSettings>>;

/** The exit status for a wrong configuration (sysexits.h: EX_CONFIG). */
const exitConfiguration = 78;

/** Parses the environment, or ends the process with one line per wrong setting. Values are never printed. */
export function loadSettings<Schema extends z.ZodType>(
  schema: Schema,
  environment: NodeJS.ProcessEnv = process.env,
): z.infer<Schema> {
  const parsed = schema.safeParse(environment);
  if (parsed.success) return parsed.data;
  for (const issue of parsed.error.issues) {
    process.stderr.write(`The setting ${issue.path.map(String).join('.')} is wrong: ${issue.message}.\n`);
  }
  process.exit(exitConfiguration);
}
