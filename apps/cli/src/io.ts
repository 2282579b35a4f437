/** Everything the command touches outside itself, in one place, so that tests run it in-process. */
import type { StdioOptions } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** The signals that `mayfly exec` passes on to its child. */
export const relayedSignals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
export type RelayedSignal = (typeof relayedSignals)[number];

export interface TextSink {
  readonly isTerminal: boolean;
  write(text: string): void;
}

export interface Io {
  /** Results, and nothing else. */
  readonly stdout: TextSink;
  /** Notes, progress and errors. */
  readonly stderr: TextSink;
  /** Whether Ctrl-C comes from a terminal, which then sends it to the child too. */
  readonly stdinIsTerminal: boolean;
  /** What a child of `exec` gets as its standard streams. */
  readonly childStdio: StdioOptions;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly fetch: typeof fetch;
  now(): Date;
  /** Resolves after so many milliseconds, or as soon as `signal` is aborted. */
  pause(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** Asks on the terminal and gives the line that is typed; empty when the input ends. */
  ask(question: string): Promise<string>;
  /** Calls `listener` for every relayed signal until the returned function is called; meanwhile they do not end the process. */
  onSignal(listener: (signal: RelayedSignal) => void): () => void;
}

/** The real one. */
export function processIo(): Io {
  return {
    stdout: sinkOf(process.stdout),
    stderr: sinkOf(process.stderr),
    stdinIsTerminal: process.stdin.isTTY,
    childStdio: 'inherit',
    env: process.env,
    cwd: process.cwd(),
    fetch,
    now: () => new Date(),
    pause: (milliseconds, signal) => sleep(milliseconds, undefined, { signal }).catch(() => undefined),
    ask,
    onSignal: (listener) => {
      for (const signal of relayedSignals) process.on(signal, listener);
      return () => {
        for (const signal of relayedSignals) process.off(signal, listener);
      };
    },
  };
}

/**
 * Nobody may be left to read: `mayfly audit | head` has had enough, a terminal is gone. That is no error, and what runs and
 * what is to be given back is more important than a note.
 */
export function outliveReader(stream: NodeJS.EventEmitter): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
  });
}

function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  return new Promise((resolve) => {
    lines.once('close', () => resolve(''));
    lines.question(question, (answer) => {
      resolve(answer);
      lines.close();
    });
  });
}

function sinkOf(stream: NodeJS.WriteStream): TextSink {
  return { isTerminal: stream.isTTY, write: (text) => void stream.write(text) };
}
