/**
 * Starts and supervises one child process: waits until it is ready, keeps its last lines for the error message,
 * ends it politely and then firmly, and sees to it that it never outlives this process.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { identifyProcess, type ProcessIdentity } from './process-identity.ts';
import { processOutput, type ProcessOutput } from './process-output.ts';
import { guardChild, releaseChild, signalGroup } from './sentinel.ts';
import { DeadlineExceeded, waitUntil } from './wait-until.ts';

/** How long after the end of a process its output may still come in, in milliseconds. */
const OUTPUT_GRACE_MS = 500;

/** What to run and how to know that it is ready. */
export interface ProcessOptions {
  /** For messages: `nats-server`, `gateway`. */
  readonly name: string;
  readonly command: string;
  readonly args?: readonly string[];
  /** The whole environment of the child: nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Run as this user (only root may); supplementary groups are dropped. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** Appended to, 0600. Without `onLine` the child writes it directly. */
  readonly logFile?: string | undefined;
  readonly onLine?: ((line: string) => void) | undefined;
  /** Asked again and again until it answers true; without it a process is ready once it runs. */
  readonly ready?: (() => Promise<boolean>) | undefined;
  /** Milliseconds until the start counts as failed; default 30,000. */
  readonly readyDeadlineMs?: number;
  /** Gives up the start: the process is ended and the signal's reason thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Asks it to end; default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** Milliseconds from asking to killing; default 10,000. */
  readonly stopDeadlineMs?: number;
}

/** How a process ended: exactly one of the two is set. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child that runs, or has run. */
export interface RunningProcess {
  readonly name: string;
  readonly pid: number;
  readonly identity: ProcessIdentity;
  /** Never rejects. */
  readonly exited: Promise<ProcessExit>;
  isRunning(): boolean;
  lastLines(): string[];
  /** Asks it to end, kills it when it does not within the deadline; idempotent. */
  stop(): Promise<ProcessExit>;
  /** Sends a signal to its process group (SIGKILL, SIGSTOP, …) and returns at once. */
  kill(signal: NodeJS.Signals): void;
}

/** A child that could not be started or ended before it was ready; the message carries its last lines. */
export class ProcessFailed extends Error {
  override readonly name = 'ProcessFailed';
  constructor(
    message: string,
    readonly lastLines: readonly string[],
    options?: ErrorOptions,
  ) {
    super([message, ...lastLines.map((line) => `  | ${line}`)].join('\n'), options);
  }
}

/**
 * Starts the process and returns when it is ready. A process that is not ready in time is ended before this throws.
 * @throws ProcessFailed
 */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const output = processOutput(options);
  const child = spawn(options.command, options.args ?? [], {
    cwd: options.cwd,
    env: options.env,
    stdio: output.stdio,
    // An own process group: Ctrl-C in the terminal reaches only us, and we end the children in order.
    detached: process.platform !== 'win32',
    ...(options.user ?? {}),
  });
  const running = await superviseProcess(options, child, output);
  try {
    await untilReady(options, running);
    return running;
  } catch (error) {
    await running.stop();
    throw error;
  }
}

async function superviseProcess(
  options: ProcessOptions,
  child: ChildProcess,
  output: ProcessOutput,
): Promise<RunningProcess> {
  const { pid } = child;
  if (pid === undefined) {
    const error = await new Promise<Error>((resolve) => child.once('error', resolve));
    output.close();
    throw new ProcessFailed(`${options.name} could not be started: ${error.message}`, []);
  }
  const stopSignal = options.stopSignal ?? 'SIGTERM';
  guardChild(pid, stopSignal);
  output.attach(child);
  // A child that has gone already has no identity any more; its exit is reported below.
  const identity = identifyProcess(pid) ?? { pid, started: '' };
  let exit: ProcessExit | undefined;
  const exited = new Promise<ProcessExit>((resolve) => {
    child.on('error', () => undefined);
    const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (exit !== undefined) return;
      exit = { code, signal };
      releaseChild(pid);
      output.close();
      resolve(exit);
    };
    // 'close' comes when its last line is in; a grandchild that keeps the pipe open must not hold up the news.
    child.once('close', ended);
    child.once('exit', (code, signal) => setTimeout(ended, OUTPUT_GRACE_MS, code, signal).unref());
  });
  let stopping: Promise<ProcessExit> | undefined;
  return {
    name: options.name,
    pid,
    identity,
    exited,
    isRunning: () => exit === undefined,
    lastLines: () => output.lastLines(),
    kill: (signal) => {
      if (exit === undefined) signalGroup(pid, signal);
    },
    stop: () =>
      (stopping ??= stopProcess(pid, exited, () => exit, stopSignal, options.stopDeadlineMs ?? 10_000)),
  };
}

async function untilReady(options: ProcessOptions, running: RunningProcess): Promise<void> {
  const ended = new AbortController();
  void running.exited.then(({ code, signal }) => {
    const how = signal ?? `exit status ${String(code)}`;
    ended.abort(new ProcessFailed(`${options.name} ended before it was ready (${how})`, running.lastLines()));
  });
  const { ready = () => Promise.resolve(true), readyDeadlineMs: deadlineMs = 30_000 } = options;
  const signal = AbortSignal.any([ended.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  try {
    await waitUntil(`the start of ${options.name}`, ready, { deadlineMs, signal });
  } catch (error) {
    if (!(error instanceof DeadlineExceeded)) throw error;
    throw new ProcessFailed(
      `${options.name} was not ready within ${String(deadlineMs)} ms`,
      running.lastLines(),
      { cause: error.cause },
    );
  }
}

async function stopProcess(
  pid: number,
  exited: Promise<ProcessExit>,
  exit: () => ProcessExit | undefined,
  stopSignal: NodeJS.Signals,
  deadlineMs: number,
): Promise<ProcessExit> {
  if (exit() === undefined) {
    signalGroup(pid, stopSignal);
    // A paused process takes the signal only when it goes on.
    signalGroup(pid, 'SIGCONT');
    const timer = setTimeout(() => {
      signalGroup(pid, 'SIGKILL');
    }, deadlineMs);
    await exited;
    clearTimeout(timer);
  }
  return exited;
}
