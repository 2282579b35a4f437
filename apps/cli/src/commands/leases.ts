/** `mayfly leases`: own leases; for an administrator, the organization's. */
import { http, type LeaseView } from '@mayfly/contracts';
import { Option, type Command } from 'commander';
import { scopeText } from '../arguments/scope.ts';
import type { CommandContext } from '../command-context.ts';
import { relativeTime } from '../output/times.ts';

interface LeasesOptions {
  readonly all?: boolean;
  readonly failing?: boolean;
  readonly json?: boolean;
}

/** The newest this many; the gateway's own bound for a page. */
const shown = 500;

export function registerLeases(program: Command, context: CommandContext): void {
  program
    .command('leases')
    .description('list leases that live')
    .addOption(new Option('--all', 'those that have ended too').conflicts('failing'))
    .option('--failing', 'those whose end or clean-up failed or is overdue; tried for ever')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly leases
  mayfly leases --all --as administrator
  mayfly leases --failing                     # of the organization, for an administrator
  mayfly leases --json | jq -r '.leases[].lease_id'`,
    )
    .action(async ({ all = false, failing = false, json = false }: LeasesOptions, command: Command) => {
      const session = await context.openSession(failing ? 'failingLeases' : 'leases', command);
      const answer = await session.call(http.leases.listLeases, {
        state: failing ? 'failing' : all ? 'all' : 'live',
        limit: shown,
      });
      if (json) context.printer.json(answer);
      else {
        const now = context.io.now();
        const rows = answer.leases.map((lease) => (failing ? failingRowOf : rowOf)(lease, now));
        const none = failing
          ? 'No end fails or is overdue.'
          : all
            ? 'There are no leases.'
            : 'There are no live leases.';
        context.printer.table(failing ? failingHeader : header, rows, none);
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

const failingHeader = [
  'LEASE',
  'CREDENTIAL',
  'STATE',
  'EXPIRY',
  'ATTEMPTS',
  'LAST ERROR',
  'NEXT ATTEMPT',
  'AGENT',
];

function failingRowOf(lease: LeaseView, now: Date): string[] {
  return [
    lease.lease_id,
    lease.credential,
    lease.state,
    relativeTime(lease.expires_at, now),
    String(lease.failing?.attempts ?? 0),
    lease.failing?.last_error ?? '-',
    relativeTime(lease.failing?.next_attempt_at, now),
    lease.agent_id,
  ];
}
