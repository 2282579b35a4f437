/** `mayfly leases`: own leases; for an administrator, the organization's. */
import { http, type LeaseView } from '@mayfly/contracts';
import type { Command } from 'commander';
import { scopeText } from '../arguments/scope.ts';
import type { CommandContext } from '../command-context.ts';
import { relativeTime } from '../output/times.ts';

/** The newest this many; the gateway's own bound for a page. */
const shown = 500;

export function registerLeases(program: Command, context: CommandContext): void {
  program
    .command('leases')
    .description('list leases that live')
    .option('--all', 'those that have ended too')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly leases
  mayfly leases --all --as administrator
  mayfly leases --json | jq -r '.leases[].lease_id'`,
    )
    .action(async ({ all = false, json = false }: { all?: boolean; json?: boolean }, command: Command) => {
      const session = await context.openSession('leases', command);
      const answer = await session.call(http.leases.listLeases, {
        state: all ? 'all' : 'live',
        limit: shown,
      });
      if (json) context.printer.json(answer);
      else {
        const now = context.io.now();
        const rows = answer.leases.map((lease) => rowOf(lease, now));
        context.printer.table(header, rows, all ? 'There are no leases.' : 'There are no live leases.');
      }
      if (answer.next !== undefined)
        context.printer.note(`only the newest ${answer.leases.length} are listed`);
    });
}

const header = ['LEASE', 'CREDENTIAL', 'STATE', 'ENDS', 'AGENT', 'TASK', 'SCOPE'];

function rowOf(lease: LeaseView, now: Date): string[] {
  return [
    lease.lease_id,
    lease.credential,
    lease.state,
    relativeTime(lease.ended_at ?? lease.expires_at, now),
    lease.agent_id,
    lease.task ?? '-',
    scopeText(lease.scope),
  ];
}
