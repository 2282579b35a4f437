/** What each step of the set-up reads from its environment. */
import { z } from 'zod';

const text = () => z.string().min(1);
/** An absolute path that can stand in a configuration of nats-server as it is. */
const plainPath = () =>
  z.string().regex(/^\/[\w./-]+$/, 'must be an absolute path of letters, digits and . _ - /');

/** Step `keys`. */
export const KeysStep = z.object({
  /** The folder of all keys: one folder per service, `public/` and `setup/`; in a deployment each is a volume of its own. */
  MAYFLY_KEYS: text(),
  /** Where `nats-server.conf` and its certificate go, as an absolute path that nats-server sees too. */
  MAYFLY_NATS_FOLDER: plainPath(),
  /** JetStream's folder as nats-server sees it. */
  MAYFLY_NATS_STORE: plainPath(),
  /** The names by which clients reach nats-server, separated by commas: the names in its certificate. */
  MAYFLY_NATS_NAMES: text(),
  MAYFLY_NATS_PORT: z.coerce.number().int().min(1).max(65_535).default(4222),
  /** Port of nats-server's own /healthz, on its loopback only. */
  MAYFLY_NATS_MONITOR_PORT: z.coerce.number().int().min(1).max(65_535).default(8222),
});
export type KeysStep = z.infer<typeof KeysStep>;

/** Step `adopt-streams`: once, at the upgrade from a bus with one account for all, while nats-server is stopped. */
export const AdoptStep = z.object({
  /** JetStream's folder, as with step `keys`. */
  MAYFLY_NATS_STORE: plainPath(),
});

/** Step `database`. */
export const DatabaseStep = z.object({
  /** A superuser of the server, in any database of it; without the password. */
  MAYFLY_ADMIN_POSTGRES_URL: z.url({ protocol: /^postgres(ql)?$/ }),
  /** File with the superuser's password. */
  MAYFLY_ADMIN_PASSWORD_FILE: text(),
  /** Where each service's own connection goes: `<service>/postgres.env`; in a deployment each folder is a volume. */
  MAYFLY_DATABASE_FOLDER: text(),
  /** Name of Mayfly's database. */
  MAYFLY_DATABASE: text().default('mayfly'),
  /** File with the password of `mayfly_auditor`. Without it a new auditor's role may not log in. */
  MAYFLY_AUDITOR_PASSWORD_FILE: text().optional(),
});
export type DatabaseStep = z.infer<typeof DatabaseStep>;

/** Step `streams`. */
export const StreamsStep = z.object({
  MAYFLY_NATS_URL: text(),
  MAYFLY_NATS_CA: text().optional(),
  /** Holds `setup/nats.nk`, the seed of the NATS user `setup`. */
  MAYFLY_KEYS: text(),
  /** Sizes and copies where not the defaults. Every service needs the same: it compares the streams with them. */
  MAYFLY_STREAM_REPLICAS: z.coerce.number().int().min(1).max(5).optional(),
  MAYFLY_EVENTS_BYTES: z.coerce.number().int().min(1).optional(),
  MAYFLY_SIGNALS_BYTES: z.coerce.number().int().min(1).optional(),
  MAYFLY_DEAD_BYTES: z.coerce.number().int().min(1).optional(),
  MAYFLY_ACK_WAIT_MS: z.coerce.number().int().min(1).max(3_600_000).optional(),
});
export type StreamsStep = z.infer<typeof StreamsStep>;

/** Step `identity`. */
export const IdentityStep = z.object({
  /** Folder of the trial issuer; its key lies in `private/` there. */
  MAYFLY_TRIAL_ISSUER: text(),
});

/** Parses the environment. @throws Error that names every wrong setting and shows no value */
export function settingsOf<Schema extends z.ZodType>(
  schema: Schema,
  env: NodeJS.ProcessEnv,
): z.infer<Schema> {
  const parsed = schema.safeParse(env);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(
    ({ path, message }) => `${path.map(String).join('.')}: ${message}`,
  );
  throw new Error(`settings are missing or wrong (${problems.join('; ')}).`);
}
