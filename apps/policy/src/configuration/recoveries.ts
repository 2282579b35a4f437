/** Sees that a version came from a recovery, whoever made it and whenever, and makes it loud: a metric and a line in the log. */
import type { Pool } from 'pg';
import { lastRecovery } from '../store/config-history.ts';
import type { ConfigurationLogger, RunningConfiguration } from './running-configuration.ts';

export interface RecoveriesParts {
  readonly pool: Pool;
  readonly running: Pick<RunningConfiguration, 'newestSeen'>;
  /** `mayfly_config_recovered_timestamp_seconds`. */
  readonly gauge: { set(value: number): void };
  readonly logger: ConfigurationLogger;
}

/** As long as the alert fires. */
const newsMs = 3_600_000;

export class Recoveries {
  #looked = 0;
  #told = 0;

  constructor(private readonly parts: RecoveriesParts) {}

  /** After each look for new versions; asks Postgres only when there is one. */
  async look(): Promise<void> {
    const newest = this.parts.running.newestSeen();
    if (newest === this.#looked) return;
    const last = await lastRecovery(this.parts.pool);
    this.#looked = newest;
    if (last === undefined || last.version === this.#told) return;
    this.#told = last.version;
    this.parts.gauge.set(last.appliedAt.getTime() / 1000);
    // A restart must not cry wolf: the metric goes on telling when it was.
    if (Date.now() - last.appliedAt.getTime() > newsMs) return;
    this.parts.logger.error(
      { config_version: last.version, applied_from: last.appliedFrom, applied_at: last.appliedAt },
      'a configuration was applied from the machine, by mayfly-policy recover',
    );
  }
}
