/**
 * Starts one PostgreSQL of each version to try (Jest globalSetup of the project "hostile"). Jest loads this file outside its
 * sandbox, where @mayfly/stack is its build, so `npm run build` comes first.
 */
import pg from 'pg';
import type { OwnPostgres } from '@mayfly/stack/postgres';
import { odd } from './odd-names.ts';
import { startServer, versionsToTry, type Server } from './servers.ts';

/** Where the servers are kept for the teardown: both run in Jest's own process. */
export interface HostileGlobals {
  mayflyHostileServers?: readonly OwnPostgres[];
}

/** Tells their addresses in MAYFLY_HOSTILE_SERVERS. */
export default async function setUp(): Promise<void> {
  const servers = await Promise.all(versionsToTry().map((major) => startServer(major)));
  (globalThis as HostileGlobals).mayflyHostileServers = servers;
  for (const { superuserUrl } of servers) {
    const client = new pg.Client({ connectionString: superuserUrl });
    await client.connect();
    // Beside those that leases are made for.
    await client.query(`CREATE DATABASE ${pg.escapeIdentifier(odd('database'))}`);
    await client.end();
  }
  process.env['MAYFLY_HOSTILE_SERVERS'] = JSON.stringify(
    servers.map(({ major, superuserUrl, logFile }): Server => ({ major, superuserUrl, logFile })),
  );
}
