/** Runs one command line from arguments to exit status. Never throws, never prints a stack trace. */
import { CommanderError } from 'commander';
import { CommandContext } from './command-context.ts';
import { asFailure, usageExit } from './failure.ts';
import type { Io } from './io.ts';
import { buildProgram } from './program.ts';

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { own, child } = splitAtChildCommand(args);
  const context = new CommandContext(io, child);
  try {
    await buildProgram(context).parseAsync(helpAsAnOption(own), { from: 'user' });
    return context.exitStatus;
  } catch (error) {
    // Commander has already written what it has to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : usageExit;
    const failure = asFailure(error);
    context.printer.failure(failure);
    return failure.exit;
  }
}

/** `mayfly exec … -- <command…>`: what follows `--` belongs to the child and is never read as an option of mayfly. */
function splitAtChildCommand(args: readonly string[]): { own: readonly string[]; child: readonly string[] } {
  const separator = args.indexOf('--');
  if (separator === -1 || !args.slice(0, separator).includes('exec')) return { own: args, child: [] };
  return { own: args.slice(0, separator), child: args.slice(separator + 1) };
}

/** `help audit verify` → `audit verify --help`: Commander's own help command looks no further than the first word. */
function helpAsAnOption(args: readonly string[]): string[] {
  const [first, ...command] = args;
  return first === 'help' && command.length > 1 ? [...command, '--help'] : [...args];
}
