/** Files that hold a secret while a command runs: 0600, in a 0700 folder of their own, gone afterwards. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Io } from '../io.ts';
import type { Printer } from '../output/printer.ts';
import { removeLeftovers, RunFolder } from './run-folder.ts';

export class SecretFiles {
  private constructor(private readonly folder: RunFolder) {}

  /** Throws CommandFailure where there is no private folder for them. */
  static async make(env: Io['env']): Promise<SecretFiles> {
    return new SecretFiles(await RunFolder.make(env));
  }

  /** Writes a file and gives its path. */
  write(name: string, content: string): string {
    const path = join(this.folder.path, name);
    writeFileSync(path, content, { mode: 0o600, flag: 'wx' });
    return path;
  }

  remove(): void {
    this.folder.remove();
  }
}

/** Removes the files of runs that were killed, and says which. Never throws. */
export async function removeLeftSecrets(env: Io['env'], printer: Printer): Promise<void> {
  for (const { folder, files } of await removeLeftovers(env)) {
    printer.note(`Removed ${files.join(', ')}, which a run that was killed had left in ${folder}.`);
  }
}
