/** `mayfly get`: one credential, to stdout, in the format asked for. */
import { Option, type Command } from 'commander';
import { parseDuration } from '../arguments/duration.ts';
import { parseScope } from '../arguments/scope.ts';
import type { CommandContext } from '../command-context.ts';
import { formatLease, formatNames, type FormatName } from '../credentials/formats.ts';
import { giveBack, noteEndOf, requestLease, type LeaseRequest } from '../credentials/lease.ts';
import { durationText, relativeTime } from '../output/times.ts';

export function registerGet(program: Command, context: CommandContext): void {
  program
    .command('get')
    .description('get a credential and print it')
    .argument('<credential>', '<integration>/<name>, as `mayfly credentials` lists it')
    .addOption(
      new Option('--ttl <duration>', 'how long it shall live: 90s, 15m, 1h').argParser(parseDuration),
    )
    .addOption(
      new Option(
        '--scope <scope>',
        'less than the credential allows: JSON, or privileges=SELECT,schemas=public',
      ).argParser(parseScope),
    )
    .option('--task <text>', 'what you are doing, for the audit log')
    .option('--justification <text>', 'why you need it, for the audit log')
    .addOption(new Option('--format <format>', 'how to print it').choices(formatNames).default('env'))
    .addOption(new Option('--json', 'the same as --format json').conflicts('format'))
    .addHelpText(
      'after',
      `
The session it opens lives for at most one hour, and no lease outlives its session.

Examples:
  eval "$(mayfly get orders-db/readonly)" && psql
  mayfly get orders-db/readonly --ttl 15m --scope privileges=SELECT,schemas=public --format url
  mayfly get orders-db/readonly --format pgpass >> ~/.pgpass
  mayfly get reports-api/read --json | jq -r .secret.token`,
    )
    .action(
      async (
        credential: string,
        options: Omit<LeaseRequest, 'credential' | 'ttlSeconds'> & {
          ttl?: number;
          format: FormatName;
          json?: true;
        },
        command: Command,
      ) => {
        const session = await context.openSession('get', command);
        const { ttl, format, json, scope, task, justification } = options;
        const opened = await requestLease(session, {
          credential,
          ttlSeconds: ttl,
          scope,
          task,
          justification,
        });
        try {
          context.printer.exact(formatLease(opened, json === true ? 'json' : format));
        } catch (error) {
          noteEndOf(session, context.printer);
          await giveBack(session, [opened.lease], context.printer);
          throw error;
        }
        const { lease_id, expires_at, ttl_adjusted, renewal } = opened.lease;
        context.printer.note(`lease ${lease_id} ends ${relativeTime(expires_at, context.io.now())}`);
        if (renewal?.kind === 'in_place') {
          context.printer.note(`\`mayfly renew ${lease_id}\` lets it live longer`);
        }
        if (ttl_adjusted !== undefined) {
          const asked = durationText(ttl_adjusted.requested_seconds);
          context.printer.note(`${asked} were asked for; it lives shorter: ${ttl_adjusted.reason}`);
        }
      },
    );
}
