/** `mayfly version`. */
import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { version } from '../version.ts';

export function registerVersion(program: Command, context: CommandContext): void {
  program
    .command('version')
    .description('print the version of mayfly')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  mayfly version\n  mayfly version --json')
    .action(({ json = false }: { json?: boolean }) => {
      if (json) context.printer.json({ version });
      else context.printer.line(`mayfly ${version}`);
    });
}
