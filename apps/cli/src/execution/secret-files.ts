/** Files that hold a secret while a command runs: 0600, in a 0700 folder of their own, gone afterwards. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Io } from '../io.ts';

export class SecretFiles {
  readonly #folder: string;

  constructor(env: Io['env']) {
    this.#folder = makeFolder(env['XDG_RUNTIME_DIR']);
  }

  /** Writes a file and gives its path. */
  write(name: string, content: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    return path;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** In memory where the system has such a folder per user (XDG Base Directory), else among the temporary files. */
function makeFolder(runtimeFolder: string | undefined): string {
  if (runtimeFolder !== undefined && runtimeFolder !== '') {
    try {
      return mkdtempSync(join(runtimeFolder, 'mayfly-'));
    } catch {
      // Not every environment that names one has it.
    }
  }
  return mkdtempSync(join(tmpdir(), 'mayfly-'));
}
