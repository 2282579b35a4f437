/** The configuration file of the very first start. */
import { readFile } from 'node:fs/promises';
import type { Pool } from 'pg';
import { newestVersionNumber } from '../store/config-versions.ts';
import { applyFirstDocument } from './apply-config.ts';
import type { ConfigurationLogger } from './running-configuration.ts';

/**
 * Applies the file unless a version is stored. What is wrong with it is logged, place by place, and leaves the service
 * running but not ready: there is nothing to decide by.
 */
export async function loadFirstDocument(
  pool: Pool,
  path: string,
  logger: ConfigurationLogger,
): Promise<void> {
  if ((await newestVersionNumber(pool)) > 0) return;
  let document: string;
  try {
    document = await readFile(path, 'utf8');
  } catch (error) {
    logger.error({ err: error, path }, 'the configuration file of MAYFLY_CONFIG cannot be read');
    return;
  }
  const applied = await applyFirstDocument(pool, document, path);
  if (applied.outcome === 'rejected') {
    logger.error(
      { path, problems: applied.problems },
      'the configuration file of MAYFLY_CONFIG is not valid; correct it and start again',
    );
  } else if (applied.outcome === 'applied') {
    logger.info({ path }, 'applied the configuration file of the first start');
  }
}
