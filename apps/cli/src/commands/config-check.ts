/** `mayfly config check`: is a document right? Offline, by the same library that policy applies it with. */
import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { readDocument, reportProblems } from '../output/config-problems.ts';
import { noteWarnings } from '../output/config-warnings.ts';
import { visibleSecrets } from '../secrets/visible-secrets.ts';

export function registerConfigCheck(config: Command, context: CommandContext): void {
  config
    .command('check')
    .description('check a configuration document, offline')
    .argument('[file]', 'the document', 'mayfly.yaml')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Exit status 2 and one line per problem, file:line:column: message, when it is wrong. Credentials that can never be granted are no
mistake and told as warnings. What a secret reference leads to is checked too
where it is seen here: set the variables, or run it where the files are. Its value is never printed.

Examples:
  mayfly config check
  mayfly config check deploy/mayfly.yaml --json`,
    )
    .action(async (file: string, { json = false }: { json?: boolean }) => {
      const document = await readDocument(context.io, file);
      // Loaded only here: the policy engine in it would slow every other command down.
      const { parseConfiguration } = await import('@mayfly/configuration');
      const parsed = parseConfiguration(document, { secretAt: visibleSecrets(context.io) });
      if (parsed.outcome === 'rejected') {
        reportProblems(context, file, parsed.problems, json);
        return;
      }
      if (json) context.printer.json({ outcome: 'ok', warnings: parsed.warnings });
      else {
        context.printer.line(`${file} is right`);
        noteWarnings(context, file, parsed.warnings);
      }
    });
}
