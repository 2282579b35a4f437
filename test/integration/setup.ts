/**
 * Starts one throwaway Postgres for all integration specs (Jest globalSetup). Jest loads this file outside its sandbox,
 * where @mayfly/stack is its build, so `npm run build` comes first; the narrow entry loads nothing but what it takes.
 */
import { chmodSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres, type OwnPostgres } from '@mayfly/stack/postgres';

/** Where the server is kept for the teardown: both run in Jest's own process. */
export interface IntegrationGlobals {
  mayflyTestPostgres?: OwnPostgres;
}

/** Sets MAYFLY_TEST_POSTGRES_URL (superuser); a server named there already is used as it is. */
export default async function setUp(): Promise<void> {
  if (process.env['MAYFLY_TEST_POSTGRES_URL'] !== undefined) return;
  const dataDirectory = mkdtempSync(join(tmpdir(), 'mayfly-integration-'));
  // Postgres' user must be able to pass through.
  chmodSync(dataDirectory, 0o711);
  const postgres = await startPostgres({
    dataDirectory,
    removeOnStop: true,
    // Nothing of this outlives the tests.
    settings: { fsync: 'off', full_page_writes: 'off', max_prepared_transactions: '50' },
  });
  (globalThis as IntegrationGlobals).mayflyTestPostgres = postgres;
  process.env['MAYFLY_TEST_POSTGRES_URL'] = postgres.adminUrl;
}
