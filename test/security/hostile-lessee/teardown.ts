/** Ends the servers of the hostile specs (Jest globalTeardown). */
import type { HostileGlobals } from './setup.ts';

export default async function tearDown(): Promise<void> {
  const servers = (globalThis as HostileGlobals).mayflyHostileServers ?? [];
  await Promise.all(servers.map((server) => server.stop()));
}
