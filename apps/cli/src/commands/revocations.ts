/** `mayfly revocations`: what was revoked, and how far each revocation is. */
import { http, type RevocationView } from '@mayfly/contracts';
import type { Command } from 'commander';
import { parseDuration } from '../arguments/duration.ts';
import { subjectText } from '../arguments/subject.ts';
import type { CommandContext } from '../command-context.ts';
import { usageFailure } from '../failure.ts';
import { clockTime } from '../output/times.ts';
import { printOutcomes } from '../revocations/outcomes.ts';
import { waitForRevocation } from '../revocations/wait.ts';

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
    .option('--timeout <duration>', 'with --wait: how long at most', parseDuration, 600)
    .option('--json', 'print JSON; with --wait: JSON lines')
    .addHelpText(
      'after',
      `
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
        const session = await context.openSession('revocations', parsed);
        if (id === undefined) {
          const answer = await session.call(listRevocations, { limit: shown });
          if (json) context.printer.json(answer);
          else context.printer.table(header, answer.revocations.map(rowOf), 'Nothing was revoked.');
        } else if (wait === true) {
          await waitForRevocation(context, session, id, { timeoutSeconds: timeout, json });
        } else {
          const leases = json ? 'all' : 'open';
          const answer = await session.call(getRevocation, { revocation_id: id, leases, limit: shown });
          if (json) {
            context.printer.json(answer);
            return;
          }
          context.printer.table(header, [rowOf(answer.revocation)], '');
          printOutcomes(context, answer.leases, 'All of its leases have ended.');
        }
      },
    );
}

const header = ['REVOCATION', 'ASKED', 'SUBJECT', 'STATUS', 'ENDED', 'FAILING', 'BY', 'REASON'];

function rowOf(revocation: RevocationView): string[] {
  return [
    revocation.revocation_id,
    clockTime(revocation.asked_at),
    subjectText(revocation.subject),
    revocation.status,
    `${revocation.revoked}/${revocation.matched}`,
    String(revocation.failing),
    revocation.asked_by,
    revocation.reason,
  ];
}
