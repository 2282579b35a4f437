/**
 * The configuration that this replica decides by: the newest applied version, compiled. Other replicas' versions are
 * found by asking Postgres once a second.
 */
import { MayflyError } from '@mayfly/contracts';
import { parseConfiguration, type Configuration, type PolicyEvaluator } from '@mayfly/configuration';
import type { Pool } from 'pg';
import {
  findConfigVersion,
  newestVersionNumber,
  noteUnnotedVersions,
  type ConfigVersion,
} from '../store/config-versions.ts';
import { evaluatorFor, identified } from './identified-configuration.ts';

export interface RunningVersion extends ConfigVersion {
  /** With organizations by their ids. */
  readonly configuration: Configuration;
  readonly evaluator: Pick<PolicyEvaluator, 'evaluate'>;
}

export interface ConfigurationLogger {
  info(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** Earlier versions that are kept parsed for reconciliation. */
const mostKept = 4;

export class RunningConfiguration {
  #running: RunningVersion | undefined;
  /** The newest version, when it can't be used. Deciding by an older one would undo what an administrator has done. */
  #unusable: number | undefined;
  #looking: Promise<void> | undefined;
  /** In the order of last use. */
  readonly #earlier = new Map<number, Configuration>();

  constructor(
    private readonly pool: Pool,
    private readonly logger: ConfigurationLogger,
  ) {}

  /** The version to decide by. Throws `dependency_unavailable` while there is none, or the newest can't be used. */
  current(): RunningVersion {
    if (this.#running === undefined || this.#unusable !== undefined) {
      throw new MayflyError('dependency_unavailable', 'No usable configuration is applied.');
    }
    return this.#running;
  }

  isLoaded(): boolean {
    return this.#running !== undefined && this.#unusable === undefined;
  }

  /** Looks for a newer version and takes it up. */
  async refresh(): Promise<void> {
    const newest = await newestVersionNumber(this.pool);
    if (newest <= this.newestSeen()) return;
    await noteUnnotedVersions(this.pool);
    const stored = await findConfigVersion(this.pool);
    if (stored !== undefined) this.takeUp(stored);
  }

  /** For who has learnt that there is a newer version than this one. One look serves all who ask at the same time. */
  async refreshFrom(version: number): Promise<void> {
    // A look that was under way may have begun before the newer version was there.
    for (let look = 0; look < 2 && this.newestSeen() <= version; look++) {
      this.#looking ??= this.refresh().finally(() => {
        this.#looking = undefined;
      });
      await this.#looking;
    }
  }

  /** Makes a stored version the running one, unless a newer one is. `parsed` saves parsing what the caller has parsed. */
  takeUp(stored: ConfigVersion, parsed?: Configuration): void {
    if (stored.version <= this.newestSeen()) return;
    const document = parsed ?? this.#parse(stored);
    if (document === undefined) {
      this.#unusable = stored.version;
      return;
    }
    const configuration = identified(document, stored.organizationIds);
    this.#running = { ...stored, configuration, evaluator: evaluatorFor(document) };
    this.#unusable = undefined;
    this.logger.info({ config_version: stored.version }, 'running a new configuration version');
  }

  /** An earlier (or the running) version as it was. Undefined for one that never was; throws `internal` when it can't be read any more. */
  async versionOf(version: number): Promise<Configuration | undefined> {
    if (version === this.#running?.version) return this.#running.configuration;
    const kept = this.#earlier.get(version);
    if (kept !== undefined) return this.#keep(version, kept);
    const stored = await findConfigVersion(this.pool, version);
    if (stored === undefined) return undefined;
    const configuration = this.#parse(stored);
    if (configuration === undefined) {
      throw new MayflyError('internal', `Configuration version ${version} is not valid in this release.`);
    }
    return this.#keep(version, identified(configuration, stored.organizationIds));
  }

  /** The newest version that this replica has found, usable or not; 0 for none. */
  newestSeen(): number {
    return Math.max(this.#running?.version ?? 0, this.#unusable ?? 0);
  }

  #keep(version: number, configuration: Configuration): Configuration {
    this.#earlier.delete(version);
    this.#earlier.set(version, configuration);
    for (const oldest of this.#earlier.keys()) {
      if (this.#earlier.size <= mostKept) break;
      this.#earlier.delete(oldest);
    }
    return configuration;
  }

  #parse({ version, document }: ConfigVersion): Configuration | undefined {
    const parsed = parseConfiguration(document, { stored: true });
    if (parsed.outcome === 'ok') {
      if (parsed.leftOut.length > 0) {
        this.logger.error(
          { config_version: version, left_out: parsed.leftOut.slice(0, 10) },
          'the applied configuration gives rights that this release gives no longer: they are left out; apply a corrected one',
        );
      }
      return parsed.configuration;
    }
    this.logger.error(
      { config_version: version, problems: parsed.problems.slice(0, 10) },
      'the applied configuration is not valid in this release; apply a corrected one with the release that wrote it',
    );
    return undefined;
  }
}
