/** Ends what `setup.ts` started. */
import type { WholeStackGlobals } from './setup.ts';

export default async function tearDown(): Promise<void> {
  await (globalThis as WholeStackGlobals).mayflyWholeStack?.stop();
}
