/** `mayfly config rollback`: makes an earlier version the running one again, as a new version. */
import { http } from '@mayfly/contracts';
import type { Command } from 'commander';
import { advising, onlyFor } from '../advice.ts';
import { parseVersion } from '../arguments/version.ts';
import type { CommandContext } from '../command-context.ts';
import { addApplyingOptions, applyDocument, type ApplyingOptions } from './apply.ts';

export function registerConfigRollback(config: Command, context: CommandContext): void {
  const command = config
    .command('rollback')
    .description('apply an earlier version of the configuration document again')
    .argument('<version>', 'as `mayfly config history` lists it', parseVersion);
  addApplyingOptions(command)
    .addHelpText(
      'after',
      `
The text of that version becomes a new version, by the same checks as \`mayfly apply\`: it is refused when this release finds a mistake in
it, when it removes what has live leases, and when it would no longer admit you. So is one that was applied by others meanwhile.

Examples:
  mayfly config rollback 6 --dry-run
  mayfly config rollback 6`,
    )
    .action(async (version: number, options: ApplyingOptions, parsed: Command) => {
      const session = await context.openSession('configRollback', parsed);
      const advice = {
        ...onlyFor('a platform administrator'),
        not_found: '`mayfly config history` lists the versions.',
      };
      const running = await advising(session.call(http.administration.getConfig, {}), advice);
      const { document } = await advising(session.call(http.administration.getConfig, { version }), advice);
      const earlier = { name: `version ${version}`, document, expectedVersion: running.version };
      await applyDocument(context, session, earlier, options);
    });
}
