/** A place under /var/tmp for what the user `postgres` must reach when our own folder is closed to it. */
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';

/**
 * A folder of root's that every user may pass through and none but root may write, always the same for the same
 * `key`. /var/tmp is writable for all, so a folder that somebody else put there is refused.
 * @throws Error when the folder is not root's
 */
export function redirectedFolder(key: string): string {
  const path = `/var/tmp/mayfly-${createHash('sha256').update(key).digest('hex').slice(0, 16)}`;
  try {
    mkdirSync(path, { mode: 0o711 });
    chmodSync(path, 0o711);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const found = lstatSync(path);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o022) !== 0)
    throw new Error(`${path} is not a folder of this user alone; remove it and start again.`);
  return path;
}
