/** `mayfly revoke`: an agent gives its own lease back; an administrator ends all leases of a subject. */
import { http, Subject, type EndOutcome } from '@mayfly/contracts';
import type { Command } from 'commander';
import type { CommandContext } from '../command-context.ts';
import { usageFailure } from '../failure.ts';
import { relativeTime } from '../output/times.ts';

type Kind = Subject['kind'];
const kinds: readonly Kind[] = Subject.shape.kind.options;

type RevokeOptions = Partial<Record<Kind, string>> & { readonly reason?: string; readonly json?: boolean };

export function registerRevoke(program: Command, context: CommandContext): void {
  const command = program
    .command('revoke')
    .description('end leases now')
    .argument('[lease-id]', 'a lease of your own, to give it back');
  for (const kind of kinds) {
    command.option(
      `--${kind} <${kind === 'session' || kind === 'lease' || kind === 'agent' ? 'id' : 'name'}>`,
      meanings[kind],
    );
  }
  command
    .option('--reason <text>', 'why, for the audit log; needed with a subject')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Mints that are under way for the subject come to nothing too.

Examples:
  mayfly revoke 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21
  mayfly revoke --agent spiffe://acme.example/agent/demo/report/agent-1 --reason 'leaked in a log'
  mayfly revoke --integration orders-db --reason 'rotating the administrator'`,
    )
    .action(async (leaseId: string | undefined, options: RevokeOptions, parsed: Command) => {
      const subject = subjectOf(leaseId, options);
      if (subject === undefined) await giveOwnBack(context, parsed, leaseId ?? '', options);
      else await revokeSubject(context, parsed, subject, options);
    });
}

const meanings: Record<Kind, string> = {
  lease: 'administrators: end this lease',
  session: '… and all leases of this session',
  agent: '… of this agent (a SPIFFE ID)',
  user: '… held on behalf of this user',
  credential: '… of this credential',
  integration: '… of this integration',
  organization: '… of the whole organization',
};

/** Undefined for a lease of one's own. */
function subjectOf(leaseId: string | undefined, options: RevokeOptions): Subject | undefined {
  const subjects = kinds.flatMap((kind) => {
    const id = options[kind];
    return id === undefined ? [] : [{ kind, id }];
  });
  const [subject] = subjects;
  if (subjects.length + (leaseId === undefined ? 0 : 1) !== 1) {
    throw usageFailure(
      'Say what to revoke: one lease id, or one of --lease, --session, --agent and the others.',
      '`mayfly help revoke` shows examples.',
    );
  }
  if (subject !== undefined && options.reason === undefined) {
    throw usageFailure('A revocation needs a --reason.', 'It goes into the audit log.');
  }
  return subject;
}

async function giveOwnBack(
  context: CommandContext,
  parsed: Command,
  leaseId: string,
  { json = false }: RevokeOptions,
): Promise<void> {
  const session = await context.openSession('giveBack', parsed);
  const outcome = await session.call(http.leases.deleteLease, { lease_id: leaseId });
  if (json) context.printer.json(outcome);
  else printOutcomes(context, [outcome]);
}

async function revokeSubject(
  context: CommandContext,
  parsed: Command,
  subject: Subject,
  { reason = '', json = false }: RevokeOptions,
): Promise<void> {
  const session = await context.openSession('revoke', parsed);
  const answer = await session.call(http.administration.revoke, { subject, reason });
  if (json) {
    context.printer.json(answer);
    return;
  }
  printOutcomes(context, answer.leases ?? []);
  if (answer.matched > 0)
    context.printer.note(`${answer.matched} ${answer.matched === 1 ? 'lease ends' : 'leases end'}`);
}

function printOutcomes({ printer, io }: CommandContext, outcomes: readonly EndOutcome[]): void {
  const rows = outcomes.map(({ lease_id, outcome, by }) => [
    lease_id,
    outcomeText[outcome],
    by === undefined ? '' : relativeTime(by, io.now()),
  ]);
  printer.table(
    ['LEASE', 'OUTCOME', 'DEAD BY'],
    rows,
    'No live lease matches; mints under way for it come to nothing.',
  );
}

const outcomeText: Record<EndOutcome['outcome'], string> = {
  revoked: 'revoked',
  ending: 'ending (retried until it is done)',
  failing: "can't be ended so far; tried for ever",
  eventual: 'revoked, in effect soon',
  expiry_only: "can't be called back",
  already_ended: 'had already ended',
};
