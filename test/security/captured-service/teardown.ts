/** Ends the servers under attack (Jest globalTeardown). */
import { rmSync } from 'node:fs';
import type { CapturedGlobals } from './setup.ts';

export default async function tearDown(): Promise<void> {
  for (const { nats, folder } of (globalThis as CapturedGlobals).mayflyCapturedServers ?? []) {
    await nats.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}
