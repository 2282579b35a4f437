/** `mayfly config history`: who applied which version, when and from where. */
import { http, type ConfigVersion } from '@mayfly/contracts';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { advising, onlyFor } from '../advice.ts';
import type { CommandContext } from '../command-context.ts';
import { clockTime } from '../output/times.ts';

/** Of one answer; more are asked for page by page. */
const pageSize = 100;

export function registerConfigHistory(config: Command, context: CommandContext): void {
  config
    .command('history')
    .description('list the versions of the configuration document, newest first')
    .addOption(new Option('--limit <number>', 'how many, at most').argParser(parseLimit).default(20))
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
BY is an administrator, \`bootstrap\` for the file of the first start, or \`recovery\` for who had the machine that policy runs on.

Examples:
  mayfly config history
  mayfly config history --json | jq '.versions[0]'
  mayfly config get 3`,
    )
    .action(async ({ limit, json = false }: { limit: number; json?: boolean }, command: Command) => {
      const session = await context.openSession('configHistory', command);
      const versions: ConfigVersion[] = [];
      let before: number | undefined;
      do {
        const page = await advising(
          session.call(http.administration.listConfigVersions, {
            before,
            limit: Math.min(pageSize, limit - versions.length),
          }),
          onlyFor('a platform administrator'),
        );
        versions.push(...page.versions);
        before = page.next;
      } while (before !== undefined && versions.length < limit);
      if (json) {
        context.printer.json({ versions });
        return;
      }
      const rows = versions.map((one) => [
        String(one.version),
        clockTime(one.applied_at),
        one.applied_by,
        one.applied_from ?? '-',
        one.same_as === undefined ? '' : `as ${one.same_as}`,
      ]);
      context.printer.table(['VERSION', 'APPLIED', 'BY', 'FROM', ''], rows, 'No version is applied.');
    });
}

function parseLimit(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError('It must be a number from 1 to 99999.');
  return Number(text);
}
