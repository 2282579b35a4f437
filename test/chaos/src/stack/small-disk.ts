/** A small file system of memory, to be filled up. Mounting takes root; where it is refused, that is told, not hidden. */
import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

export interface SmallDisk {
  readonly path: string;
  /** Takes all the room that is left. */
  fill(): void;
  /** Gives the room back. */
  free(): void;
  unmount(): void;
}

/** Mounts a tmpfs of so many mebibytes at `path`, or answers with why that is not permitted. */
export function mountSmallDisk(path: string, mebibytes: number): SmallDisk | string {
  mkdirSync(path, { recursive: true, mode: 0o711 });
  const { status, stderr, error } = spawnSync(
    'mount',
    ['-t', 'tmpfs', '-o', `size=${String(mebibytes)}m,mode=0711`, 'tmpfs', path],
    { encoding: 'utf8' },
  );
  if (status !== 0) return error?.message ?? stderr.trim();
  const ballast = join(path, 'ballast');
  return {
    path,
    fill: () => {
      fillUp(ballast);
    },
    free: () => {
      rmSync(ballast, { force: true });
    },
    unmount: () => {
      // Lazily: a process that is just ending may still hold a file.
      spawnSync('umount', ['--lazy', path]);
    },
  };
}

function fillUp(file: string): void {
  const handle = openSync(file, 'a');
  // In ever smaller pieces, down to the last page.
  for (const size of [1024 * 1024, 64 * 1024, 4096]) {
    const piece = Buffer.alloc(size);
    try {
      for (;;) writeSync(handle, piece);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
  closeSync(handle);
}
