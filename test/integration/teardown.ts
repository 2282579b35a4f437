/** Ends the Postgres of the integration specs (Jest globalTeardown). */
import type { IntegrationGlobals } from './setup.ts';

export default async function tearDown(): Promise<void> {
  await (globalThis as IntegrationGlobals).mayflyTestPostgres?.stop();
}
