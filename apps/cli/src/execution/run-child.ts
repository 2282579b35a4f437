/** Runs the command of `mayfly exec` and gives its exit status as a shell would. */
import { spawn } from 'node:child_process';
import { statusOfSignal } from '../failure.ts';
import type { Io } from '../io.ts';
import type { SignalRelay } from './signal-relay.ts';

/** POSIX XCU §2.8.2: a command that is not found, and one that can't be run. */
const notFoundStatus = 127;
const notRunnableStatus = 126;

export interface ChildOutcome {
  readonly status: number;
  /** Why it never started. */
  readonly failedToStart?: string;
}

/** Never rejects. Signals are passed on while the child runs. */
export function runChild(
  [program = '', ...args]: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  io: Pick<Io, 'cwd' | 'childStdio' | 'stdinIsTerminal'>,
  relay: SignalRelay,
): Promise<ChildOutcome> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: io.cwd, env, stdio: io.childStdio });
    relay.passOnTo((signal) => {
      // A terminal sends these two to the child itself; twice would tell many programs to quit at once.
      const alreadySent = io.stdinIsTerminal && (signal === 'SIGINT' || signal === 'SIGQUIT');
      if (!alreadySent) child.kill(signal);
    });
    const end = (outcome: ChildOutcome) => {
      relay.childEnded();
      resolve(outcome);
    };
    child.once('error', (error: NodeJS.ErrnoException) => {
      // The event also tells of a signal that could not be sent; that child still runs.
      if (child.pid !== undefined) return;
      const notFound = error.code === 'ENOENT';
      end({
        status: notFound ? notFoundStatus : notRunnableStatus,
        failedToStart: notFound ? 'there is no such command' : 'it can not be run',
      });
    });
    child.once('exit', (code, signal) => {
      end({ status: signal === null ? (code ?? 1) : statusOfSignal(signal) });
    });
  });
}
