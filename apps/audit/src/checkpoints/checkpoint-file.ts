/**
 * The file outside Postgres: one signed checkpoint a line, only ever appended to, on the disk before the next step.
 */
import { open } from 'node:fs/promises';

/** More than two of the longest lines, so that the last whole one is within it. */
const tailBytes = 32_768;

export class CheckpointFile {
  constructor(private readonly path: string) {}

  /** The last token in it. None when there is no file yet. A last line that was cut off by a crash counts as not there. */
  async newest(): Promise<string | undefined> {
    const file = await open(this.path, 'r').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
    if (file === undefined) return undefined;
    try {
      const { size } = await file.stat();
      const length = Math.min(size, tailBytes);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
      const text = buffer.toString('latin1', 0, bytesRead);
      return text
        .slice(0, text.lastIndexOf('\n') + 1)
        .split('\n')
        .filter((line) => line !== '')
        .at(-1);
    } finally {
      await file.close();
    }
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
