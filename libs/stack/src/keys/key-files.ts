/** Files that hold keys: written whole or not at all, never over an existing one, for their owner alone. */
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

/**
 * The content of a secret file, made by `make` when there is none. Of several processes that make it at the same
 * time one wins and all get the winner's. An existing file that others may read is closed to them.
 */
export async function readOrMakeSecretFile(
  path: string,
  make: () => string | Promise<string>,
): Promise<string> {
  ensurePrivateFolder(dirname(path));
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    const staged = stage(path, await make(), 0o600);
    try {
      // link() refuses an existing name, so a key is never replaced by another.
      linkSync(staged, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(staged, { force: true });
    }
  }
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600);
  return readFileSync(path, 'utf8');
}

/**
 * Writes a secret file, replacing what is there in one step. A folder that is there keeps its mode: others may have to pass
 * through it, as Postgres' user through the data folder; the file is closed by itself.
 */
export function replaceSecretFile(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  renameSync(stage(path, content, 0o600), path);
}

/** Writes a file without secrets, replacing what is there in one step. */
export function replacePublicFile(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  renameSync(stage(path, content, 0o644), path);
}

/** A folder of mode 0700. */
export function ensurePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o700);
}

function stage(path: string, content: string, mode: number): string {
  const staged = `${path}.${randomBytes(6).toString('hex')}.new`;
  writeFileSync(staged, content, { mode, flag: 'wx' });
  return staged;
}
