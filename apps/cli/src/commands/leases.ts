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
    .option('--failing', 'those whose end, or the clean-up after it, failed or is overdue; tried for ever')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  mayfly leases
  mayfly leases --all --as administrator
  mayfly leases --failing                     # of the organization, for an administrator
  mayfly leases --json | jq -r '.leases[].lease_id'
  mayfly leases --failing --json | jq '.leases[] | select(.cleanup == "pending")'

What --failing says under ACCESS:
  may still work    its end fails, or is overdue
  ended             it can do nothing any more; what it left upstream (cleanup "pending") is still being removed
  never released    its mint came to nothing and nobody has it; what may be left of it is being removed`,
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
        if (failing && rows.length > 0) context.printer.note(summaryOf(answer.leases));
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
  'ACCESS',
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
    accessOf(lease),
    relativeTime(lease.expires_at, now),
    String(lease.failing?.attempts ?? 0),
    lease.failing?.last_error ?? '-',
    relativeTime(lease.failing?.next_attempt_at, now),
    lease.agent_id,
  ];
}

type Access = 'may still work' | 'ended' | 'never released';

/** What anybody can still do with a lease of which something fails: the first thing to know in an incident. */
function accessOf({ state }: LeaseView): Access {
  switch (state) {
    case 'active':
    case 'revoking':
    case 'revocation_failed':
      return 'may still work';
    case 'expired':
    case 'revoked':
      return 'ended';
    case 'intended':
    case 'failed':
    case 'orphaned':
      return 'never released';
  }
}

function summaryOf(leases: readonly LeaseView[]): string {
  const count = (access: Access) => leases.filter((lease) => accessOf(lease) === access).length;
  const parts = [
    [count('may still work'), 'cannot be ended so far and may still work'],
    [count('ended'), 'ended: nothing works, what was left upstream is being removed'],
    [count('never released'), 'never released'],
  ] as const;
  return parts
    .filter(([leases]) => leases > 0)
    .map(([leases, what]) => `${leases} ${what}`)
    .join('; ');
}
