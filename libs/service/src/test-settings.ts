/**
 * What tests may have a service do that no operator wants: die at a named step, or live by a clock that is wrong. Refused unless
 * `MAYFLY_TESTS_ONLY=failpoints-and-clocks` says so as well, and in any case where `NODE_ENV` is `production`, as in the
 * container image.
 */
import { z } from 'zod';
import { armFailpoints } from './failpoints.ts';
import { shiftClock } from './shifted-clock.ts';

const permission = 'failpoints-and-clocks';

const TestSettings = z
  .object({
    MAYFLY_TESTS_ONLY: z.literal(permission).optional(),
    /** Control file, see `FailpointOrder`. */
    MAYFLY_TEST_FAILPOINTS: z.string().min(1).optional(),
    /** Added to this process's clock, in milliseconds. */
    MAYFLY_TEST_CLOCK_OFFSET_MS: z.coerce.number().int().min(-3_600_000).max(3_600_000).optional(),
    NODE_ENV: z.string().optional(),
  })
  .superRefine((given, context) => {
    for (const name of ['MAYFLY_TEST_FAILPOINTS', 'MAYFLY_TEST_CLOCK_OFFSET_MS'] as const) {
      if (given[name] === undefined) continue;
      if (given.MAYFLY_TESTS_ONLY !== permission || given.NODE_ENV === 'production') {
        context.addIssue({ code: 'custom', path: [name], message: 'it is for tests only' });
      }
    }
  });

export interface TestSettingsLogger {
  warn(fields: object, message: string): void;
}

/** Applies them; does nothing when none is set. Throws when one is set and not permitted: the service must not start. */
export function applyTestSettings(
  logger: TestSettingsLogger,
  environment: NodeJS.ProcessEnv = process.env,
): void {
  const parsed = TestSettings.safeParse(environment);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message }) => `${path.map(String).join('.')}: ${message}`);
    throw new Error(`This service does not start with the settings of tests. ${wrong.join('; ')}.`);
  }
  const { MAYFLY_TEST_FAILPOINTS: file, MAYFLY_TEST_CLOCK_OFFSET_MS: offsetMs } = parsed.data;
  if (file !== undefined) {
    armFailpoints(file);
    logger.warn(
      { control_file: file },
      'failpoints are armed: this process can be killed by a file; for tests only',
    );
  }
  if (offsetMs !== undefined && offsetMs !== 0) {
    logger.warn({ offset_ms: offsetMs }, 'the clock of this process is shifted; for tests only');
    shiftClock(offsetMs);
  }
}
