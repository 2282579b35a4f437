/** `mayfly config get`: the running configuration document. */
import { http } from '@mayfly/contracts';
import type { Command } from 'commander';
import { advising, onlyFor } from '../advice.ts';
import type { CommandContext } from '../command-context.ts';
import { clockTime } from '../output/times.ts';

export function registerConfigGet(config: Command, context: CommandContext): void {
  config
    .command('get')
    .description('print the running configuration document')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly config get > mayfly.yaml
  mayfly config get --json | jq .version`,
    )
    .action(async ({ json = false }: { json?: boolean }, command: Command) => {
      const session = await context.openSession('configGet', command);
      const answer = await advising(
        session.call(http.administration.getConfig, {}),
        onlyFor('a platform administrator'),
      );
      if (json) {
        context.printer.json(answer);
        return;
      }
      if (answer.document !== '') context.printer.exact(answer.document);
      const applied = answer.applied_at === undefined ? '' : `, applied ${clockTime(answer.applied_at)}`;
      context.printer.note(`version ${answer.version}${applied}`);
    });
}
