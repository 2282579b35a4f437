/** Where a child's output goes: straight into a log file, or through us line by line; the last lines are kept. */
import type { ChildProcess } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';

/** Lines kept for error messages. */
const KEPT_LINES = 30;
/** How much of a log file is read back to find those lines, in bytes. */
const TAIL_BYTES = 16 * 1024;
/** A log file above this size is put aside at the next start, in bytes. */
const LOG_FILE_LIMIT = 16 * 1024 * 1024;

/** The output of one child. */
export interface ProcessOutput {
  /** For `spawn`: standard input closed, then standard output and error. */
  readonly stdio: ['ignore', 'pipe' | number, 'pipe' | number];
  attach(child: ChildProcess): void;
  lastLines(): string[];
  close(): void;
}

/**
 * Without `onLine` a log file is written by the child itself (no line passes through this process); with it, or
 * without a file, lines come through a pipe.
 */
export function processOutput(options: {
  readonly logFile?: string | undefined;
  readonly onLine?: ((line: string) => void) | undefined;
}): ProcessOutput {
  const file = options.logFile === undefined ? undefined : openLogFile(options.logFile);
  return file !== undefined && options.onLine === undefined
    ? outputToFile(file)
    : outputThroughPipe(file, options.onLine);
}

function openLogFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > LOG_FILE_LIMIT) renameSync(path, `${path}.1`);
  return openSync(path, 'a+', 0o600);
}

function outputToFile(file: number): ProcessOutput {
  const start = fstatSync(file).size;
  let kept: string[] | undefined;
  const tail = (): string[] => {
    const end = fstatSync(file).size;
    const from = Math.max(start, end - TAIL_BYTES);
    const buffer = Buffer.alloc(end - from);
    const read = readSync(file, buffer, 0, buffer.length, from);
    return buffer.toString('utf8', 0, read).trimEnd().split('\n').slice(-KEPT_LINES);
  };
  return {
    stdio: ['ignore', file, file],
    attach: () => undefined,
    lastLines: () => kept ?? tail(),
    close: () => {
      if (kept !== undefined) return;
      kept = tail();
      closeSync(file);
    },
  };
}

function outputThroughPipe(
  file: number | undefined,
  onLine: ((line: string) => void) | undefined,
): ProcessOutput {
  const kept: string[] = [];
  let open = true;
  const take = (line: string): void => {
    kept.push(line);
    if (kept.length > KEPT_LINES) kept.shift();
    if (file !== undefined && open) writeSync(file, `${line}\n`);
    onLine?.(line);
  };
  return {
    stdio: ['ignore', 'pipe', 'pipe'],
    attach: (child) => {
      for (const stream of [child.stdout, child.stderr])
        if (stream !== null) createInterface({ input: stream, crlfDelay: Infinity }).on('line', take);
    },
    lastLines: () => [...kept],
    close: () => {
      if (open && file !== undefined) closeSync(file);
      open = false;
    },
  };
}
