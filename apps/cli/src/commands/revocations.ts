/** `mayfly revocations`: what was revoked, and how far each revocation is. */
import { http, type RevocationView } from '@mayfly/contracts';
import type { Command } from 'commander';
import { advising, onlyFor, type Advice } from '../advice.ts';
import { waitTimeout } from '../arguments/duration.ts';
import { subjectText } from '../arguments/subject.ts';
import type { Session } from '../api/session.ts';
import type { CommandContext } from '../command-context.ts';
import { usageFailure } from '../failure.ts';
import { clockTime } from '../output/times.ts';
import { printOutcomes } from '../revocations/outcomes.ts';
import { unknownRevocation, waitForRevocation } from '../revocations/wait.ts';

const { getRevocation, listRevocations } = http.administration;

/** The newest this many revocations; the first this many leases of one. */
const shown = 100;

interface RevocationsOptions {
  readonly wait?: boolean;
  readonly timeout: number;
  readonly json?: boolean;
}

export function registerRevocations(program: Command, context: CommandContext): void {
  program
    .command('revocations')
    .description('list revocations, or show one and which of its leases have not ended')
    .argument('[revocation-id]', 'one revocation')
    .option('--wait', 'follow it until all of its leases have ended')
    .addOption(waitTimeout())
    .option('--json', 'print JSON; with --wait: JSON lines')
    .addHelpText(
      'after',
      `
An id that \`mayfly apply\` has printed may be unknown for a moment; --wait waits for it. Exit statuses of --wait are those of
\`mayfly revoke\`. Stopping the wait stops nothing.

Examples:
  mayfly revocations
  mayfly revocations 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21
  mayfly revocations 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21 --wait --timeout 2m`,
    )
    .action(
      async (
        id: string | undefined,
        { wait, timeout, json = false }: RevocationsOptions,
        parsed: Command,
      ) => {
        if (wait === true && id === undefined) throw usageFailure('Say which revocation to wait for.');
        const open = (signal?: AbortSignal) => context.openSession('revocations', parsed, signal);
        const session = await open();
        if (id === undefined) await listNewest(context, session, json);
        else if (wait === true)
          await waitForRevocation(context, { session, open }, id, { timeoutSeconds: timeout, json });
        else await showOne(context, session, id, json);
      },
    );
}

async function listNewest({ printer }: CommandContext, session: Session, json: boolean): Promise<void> {
  const { revocations, next } = await advising(session.call(listRevocations, { limit: shown }), advice);
  if (json) printer.json({ revocations, next });
  else printer.table(header, revocations.map(rowOf), 'Nothing was revoked.');
  if (next !== undefined)
    printer.note(`Only the newest ${revocations.length} are listed; there may be more.`);
}

async function showOne(
  context: CommandContext,
  session: Session,
  revocation_id: string,
  json: boolean,
): Promise<void> {
  const { printer } = context;
  const answer = await advising(
    session.call(getRevocation, { revocation_id, leases: json ? 'all' : 'open', limit: shown }),
    advice,
  );
  const { revocation, leases, next } = answer;
  if (json) printer.json(answer);
  else {
    printer.table(header, [rowOf(revocation)], '');
    printOutcomes(context, leases, noneOpenText(revocation));
  }
  const all = json ? revocation.matched : revocation.pending + revocation.failing;
  if (next !== undefined && all > leases.length) {
    const which = json ? 'leases' : 'leases that have not ended';
    printer.note(
      `Only the first ${leases.length} of ${all} ${which} are listed; --wait --json names each as it ends.`,
    );
  }
}

/** Why no lease of it is listed as open. */
function noneOpenText({ status, matched, by_revocability: how }: RevocationView): string {
  if (status === 'gathering') return 'Its leases are still being found; --wait follows it.';
  if (matched === 0) return 'No live lease matched.';
  const workOn = how.eventual + how.expiry_only;
  return workOn === 0
    ? 'All of its leases have ended.'
    : `All of its leases have ended; ${workOn} may work for a while all the same, and --wait tells until when.`;
}

const advice: Advice = {
  ...unknownRevocation,
  ...onlyFor('an administrator'),
  dependency_unavailable: 'Try again in a moment; what was revoked goes on ending meanwhile.',
};

const header = ['REVOCATION', 'ASKED', 'SUBJECT', 'STATUS', 'ENDED', 'PENDING', 'FAILING', 'BY', 'REASON'];

function rowOf(revocation: RevocationView): string[] {
  return [
    revocation.revocation_id,
    clockTime(revocation.asked_at),
    subjectText(revocation.subject),
    revocation.status,
    `${revocation.revoked}/${revocation.matched}`,
    String(revocation.pending),
    String(revocation.failing),
    revocation.asked_by,
    revocation.reason,
  ];
}
