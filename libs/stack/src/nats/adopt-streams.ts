/** Takes over the streams of a bus from before there were accounts. */
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { logAccount } from '@mayfly/messaging';

/** Where nats-server keeps what belongs to no account of its configuration. */
const globalAccount = '$G';

/**
 * nats-server keeps streams in a folder for each account. Those of a version of Mayfly that had one account for all are moved to where the
 * account of the streams looks for them, so that no event which somebody still waits for is left behind. Only while no nats-server
 * uses the folder. Does nothing when there is nothing to take over.
 * @param storeDirectory `store_dir` of nats-server
 * @returns whether there were any
 */
export function adoptStreams(storeDirectory: string): boolean {
  const accounts = join(storeDirectory, 'jetstream');
  const before = join(accounts, globalAccount);
  const now = join(accounts, logAccount);
  if (!existsSync(join(before, 'streams')) || existsSync(join(now, 'streams'))) return false;
  renameSync(before, now);
  return true;
}
