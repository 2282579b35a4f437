/**
 * The file outside Postgres: one signed checkpoint a line, only ever appended to, on the disk before the next step.
 */
import { open, readFile } from 'node:fs/promises';

export class CheckpointFile {
  constructor(private readonly path: string) {}

  /** The tokens in it, oldest first. None when there is no file yet. A last line that was cut off by a crash counts as not there. */
  async tokens(): Promise<string[]> {
    const text = await readFile(this.path, 'utf8').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
      throw error;
    });
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '');
  }

  async append(tokens: readonly string[]): Promise<void> {
    if (tokens.length === 0) return;
    const file = await open(this.path, 'a+', 0o600);
    try {
      // What a crash has cut off stays, on a line of its own.
      const { size } = await file.stat();
      const last =
        size > 0 ? (await file.read(Buffer.alloc(1), 0, 1, size - 1)).buffer.toString('latin1') : '\n';
      await file.write(`${last === '\n' ? '' : '\n'}${tokens.join('\n')}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
