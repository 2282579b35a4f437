/** Starts one throwaway Postgres for all integration specs (Jest globalSetup). */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OwnPostgres } from '@mayfly/stack';

/** Where the server is kept for the teardown: both run in Jest's own process. */
export interface IntegrationGlobals {
  mayflyTestPostgres?: OwnPostgres;
}

/** Sets MAYFLY_TEST_POSTGRES_URL (superuser); a server named there already is used as it is. */
export default async function setUp(): Promise<void> {
  if (process.env['MAYFLY_TEST_POSTGRES_URL'] !== undefined) return;
  const { startPostgres } = await import('@mayfly/stack');
  const dataDirectory = mkdtempSync(join(tmpdir(), 'mayfly-integration-'));
  const postgres = await startPostgres({ dataDirectory, throwaway: true });
  (globalThis as IntegrationGlobals).mayflyTestPostgres = postgres;
  process.env['MAYFLY_TEST_POSTGRES_URL'] = postgres.adminUrl;
}
