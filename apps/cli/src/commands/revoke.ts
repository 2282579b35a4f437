/** `mayfly revoke`: an agent gives its own lease back; an administrator ends all leases of a subject. */
import { http, type RevocationSubject } from '@mayfly/contracts';
import type { Command } from 'commander';
import { advising, maybeDone, onlyFor, type Advice } from '../advice.ts';
import { waitTimeout } from '../arguments/duration.ts';
import { addSubjectOptions, subjectsOf, subjectText, type SubjectOptions } from '../arguments/subject.ts';
import type { CommandContext } from '../command-context.ts';
import { CommandFailure, usageExit, usageFailure } from '../failure.ts';
import { printOutcomes } from '../revocations/outcomes.ts';
import { waitForRevocation } from '../revocations/wait.ts';

interface RevokeOptions extends SubjectOptions {
  readonly reason?: string;
  readonly wait?: boolean;
  readonly timeout: number;
  readonly yes?: boolean;
  readonly json?: boolean;
}

export function registerRevoke(program: Command, context: CommandContext): void {
  const command = program
    .command('revoke')
    .description('end leases now')
    .argument('[lease-id]', 'a lease of your own, to give it back');
  addSubjectOptions(command, {
    lease: 'administrators: end this lease',
    session: '… and all leases of this session',
    agent: '… of this agent (a SPIFFE ID)',
    user: '… held on behalf of this user',
    credential: '… of this credential',
    integration: '… of this integration',
    organization: '… of the whole organization',
    everything: '… of every organization (platform administrators)',
  });
  command
    .option('--reason <text>', 'why, for the audit log; needed with a subject')
    .option('--wait', 'follow it until all have ended')
    .addOption(waitTimeout())
    .option('--yes', 'do not ask before revoking an integration, an organization or everything')
    .option('--json', 'print JSON; with --wait: JSON lines')
    .addHelpText(
      'after',
      `
Once it is accepted, every lease of the subject ends, whatever crashes; mints that are under way for it come to nothing.
Revoking again is safe, and tries at once what could not be ended. New leases are granted as before: \`mayfly block\`.

With --wait the exit status tells how it went: 0 all have ended; 30 all have ended, but some work until a time that is
told; 31 not all have ended in time; 32 an upstream would not end some so far. A gateway that does not answer is waited for,
within --timeout. Stopping the wait, by Ctrl-C, stops nothing: \`mayfly revocations <id> --wait\` goes on with it.

Examples:
  mayfly revoke 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21
  mayfly revoke --user ada@example.com --reason 'lost laptop' --wait
  mayfly revoke --agent spiffe://acme.example/agent/demo/report/agent-1 --reason 'leaked in a log'
  mayfly revoke --integration orders-db --reason 'rotating the administrator' --yes --wait --json`,
    )
    .action(async (leaseId: string | undefined, options: RevokeOptions, parsed: Command) => {
      const subject = subjectOf(leaseId, options);
      if (subject === undefined) await giveOwnBack(context, parsed, leaseId ?? '', options);
      else await revokeSubject(context, parsed, subject, options);
    });
}

/** Undefined for a lease of one's own. */
function subjectOf(leaseId: string | undefined, options: RevokeOptions): RevocationSubject | undefined {
  const subjects = subjectsOf(options);
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
  if (subject === undefined && options.wait === true) {
    throw usageFailure('--wait is for a subject; giving back waits by itself.');
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
  const outcome = await advising(
    session.call(http.leases.deleteLease, { lease_id: leaseId }),
    giveBackAdvice,
  );
  if (json) context.printer.json(outcome);
  else printOutcomes(context, [outcome]);
}

async function revokeSubject(
  context: CommandContext,
  parsed: Command,
  subject: RevocationSubject,
  { reason = '', wait = false, timeout, yes = false, json = false }: RevokeOptions,
): Promise<void> {
  if (!yes) await confirm(context, subject);
  const open = (signal?: AbortSignal) => context.openSession('revoke', parsed, signal);
  const session = await open();
  const answer = await advising(session.call(http.administration.revoke, { subject, reason }), revokeAdvice);
  if (wait) {
    const waiting = { timeoutSeconds: timeout, json, isNew: true };
    await waitForRevocation(context, { session, open }, answer.revocation_id, waiting);
    return;
  }
  if (json) {
    context.printer.json(answer);
    return;
  }
  if (answer.leases !== undefined) printOutcomes(context, answer.leases);
  if (answer.status === 'done' && answer.leases !== undefined) {
    if (answer.matched > 0)
      context.printer.note(`${answer.matched} ${answer.matched === 1 ? 'lease' : 'leases'} ended`);
    return;
  }
  const found =
    answer.status === 'gathering' ? `${answer.matched} leases so far` : `${answer.matched} leases`;
  context.printer.note(
    `${found}, ${answer.revoked} ended; \`mayfly revocations ${answer.revocation_id} --wait\` follows it`,
  );
}

const giveBackAdvice: Advice = {
  ...maybeDone('It may have been given back: `mayfly leases` tells. Asking again is safe.'),
  not_found: '`mayfly leases` lists your own; an administrator ends those of others with --lease.',
};

const revokeAdvice: Advice = {
  ...maybeDone('It may have been accepted: `mayfly revocations` tells. Asking again is safe.'),
  ...onlyFor('an administrator, and for --everything one of the platform'),
};

const wide: readonly RevocationSubject['kind'][] = ['integration', 'organization', 'everything'];

/** Asks before what may stop a whole team. Only on a terminal: a script has said what it wants. */
async function confirm({ io, printer }: CommandContext, subject: RevocationSubject): Promise<void> {
  if (!wide.includes(subject.kind) || !io.stdinIsTerminal) return;
  const what =
    subject.kind === 'everything'
      ? 'EVERY lease of EVERY organization'
      : `every lease of ${subjectText(subject)}`;
  const answer = await printer.ask(`This ends ${what} now. Type yes to go on: `);
  if (answer.trim() !== 'yes')
    throw new CommandFailure('Nothing was revoked.', { exit: usageExit, next: '--yes does not ask.' });
}
