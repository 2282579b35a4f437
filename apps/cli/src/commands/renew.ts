/** `mayfly renew`: a later end for a lease of one's own. */
import { http } from '@mayfly/contracts';
import { Option, type Command } from 'commander';
import { advising, type Advice } from '../advice.ts';
import { parseDuration } from '../arguments/duration.ts';
import type { CommandContext } from '../command-context.ts';
import { durationText, relativeTime } from '../output/times.ts';

export function registerRenew(program: Command, context: CommandContext): void {
  program
    .command('renew')
    .description('let a lease live longer, with the same secret')
    .argument('<lease-id>', 'a lease of your own, as `mayfly leases` lists it')
    .addOption(
      new Option(
        '--ttl <duration>',
        'how long from now: 90s, 15m, 1h; without it as long as it was granted for',
      ).argParser(parseDuration),
    )
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
\`mayfly credentials\` shows which are renewable and how long they can live in all. Policy is asked again each time, and no lease
outlives the session that it was got in. Where each renewal is a new secret, use \`mayfly get\` again instead.
\`mayfly exec\` renews by itself.

Examples:
  mayfly renew 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21
  mayfly renew 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21 --ttl 15m`,
    )
    .action(
      async (leaseId: string, { ttl, json = false }: { ttl?: number; json?: boolean }, command: Command) => {
        const session = await context.openSession('renew', command);
        const lease = await advising(
          session.call(http.leases.renewLease, { lease_id: leaseId, ttl_seconds: ttl }),
          advice,
        );
        if (json) {
          context.printer.json(lease);
          return;
        }
        context.printer.line(`${lease.credential} ends ${relativeTime(lease.expires_at, context.io.now())}`);
        if (lease.ttl_adjusted !== undefined) {
          const asked = durationText(lease.ttl_adjusted.requested_seconds);
          context.printer.note(`${asked} were asked for; it lives shorter: ${lease.ttl_adjusted.reason}`);
        }
      },
    );
}

/** What to do when a renewal, not a request for something new, was refused. */
const advice: Advice = {
  policy_denied: '`mayfly credentials` shows what may be renewed; `mayfly get` gets a new one.',
  ttl_exceeded:
    '`mayfly leases` shows when it ends, `mayfly credentials` how long it may live; --ttl counts from now.',
  conflict: 'Try again in a moment, or get a new one with `mayfly get`.',
  not_found: '`mayfly leases` lists your own.',
  provider_unavailable: 'Try again in a moment; `mayfly leases` shows when it ends.',
  dependency_unavailable: 'Try again in a moment; `mayfly leases` shows when it ends.',
};
