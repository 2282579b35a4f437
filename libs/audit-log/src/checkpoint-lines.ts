/** Reads the file of checkpoints outside Postgres, a few lines at a time, however long it is. */
import { open } from 'node:fs/promises';

const blockBytes = 65_536;

export interface CheckpointLine {
  /** From 1, counted from where reading began. */
  readonly number: number;
  readonly token: string;
  /** Where the line ends in the file, in bytes. */
  readonly end: number;
}

/**
 * Whole lines from a place in the file on, in batches. A last line without its end was cut off by a crash and is left out. Throws
 * the error of the file system.
 */
export async function* checkpointLines(
  path: string,
  from = 0,
  batch = 200,
): AsyncGenerator<CheckpointLine[]> {
  const file = await open(path, 'r');
  try {
    let rest = Buffer.alloc(0);
    let position = from;
    let number = 0;
    let lines: CheckpointLine[] = [];
    for (;;) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(blockBytes), 0, blockBytes, position);
      if (bytesRead === 0) break;
      let start = 0;
      const block = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      const blockStart = position - rest.length;
      for (let end = block.indexOf(10); end !== -1; end = block.indexOf(10, start)) {
        number += 1;
        const token = block.subarray(start, end).toString('latin1');
        start = end + 1;
        if (token !== '') lines.push({ number, token, end: blockStart + start });
        if (lines.length >= batch) {
          yield lines;
          lines = [];
        }
      }
      // A line that never ends would grow without bound; no token is as long.
      rest = block.subarray(start);
      if (rest.length > blockBytes) rest = Buffer.concat([rest.subarray(0, 16)]);
      position += bytesRead;
    }
    if (lines.length > 0) yield lines;
  } finally {
    await file.close();
  }
}
