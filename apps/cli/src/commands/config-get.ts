/** `mayfly config get`: the running configuration document, or an earlier version. */
import { http } from '@mayfly/contracts';
import type { Command } from 'commander';
import { advising, onlyFor } from '../advice.ts';
import { parseVersion } from '../arguments/version.ts';
import type { CommandContext } from '../command-context.ts';
import { clockTime } from '../output/times.ts';

export function registerConfigGet(config: Command, context: CommandContext): void {
  config
    .command('get')
    .description('print the running configuration document, or an earlier version')
    .argument('[version]', 'as `mayfly config history` lists it', parseVersion)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly config get > mayfly.yaml
  mayfly config get 3
  mayfly config get --json | jq .version`,
    )
    .action(async (version: number | undefined, { json = false }: { json?: boolean }, command: Command) => {
      const session = await context.openSession('configGet', command);
      const answer = await advising(session.call(http.administration.getConfig, { version }), {
        ...onlyFor('a platform administrator'),
        not_found: '`mayfly config history` lists the versions.',
      });
      if (json) {
        context.printer.json(answer);
        return;
      }
      if (answer.document !== '') context.printer.exact(answer.document);
      const applied = answer.applied_at === undefined ? '' : `, applied ${clockTime(answer.applied_at)}`;
      const by = answer.applied_by === undefined ? '' : ` by ${answer.applied_by}`;
      const from = answer.applied_from === undefined ? '' : ` from ${answer.applied_from}`;
      context.printer.note(`version ${answer.version}${applied}${by}${from}`);
    });
}
