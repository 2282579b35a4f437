/** What an end means for a lease, in words. */
import type { EndOutcome } from '@mayfly/contracts';
import type { CommandContext } from '../command-context.ts';
import { relativeTime } from '../output/times.ts';

export const outcomeText: Record<EndOutcome['outcome'], string> = {
  revoked: 'revoked',
  ending: 'ending (retried until it is done)',
  failing: "can't be ended so far (tried for ever)",
  eventual: 'revoked, in effect soon',
  expiry_only: "can't be called back",
  already_ended: 'had already ended',
};

export function printOutcomes(
  { printer, io }: CommandContext,
  outcomes: readonly EndOutcome[],
  empty = 'No live lease matches; mints under way for it come to nothing.',
): void {
  const rows = outcomes.map(({ lease_id, outcome, by }) => [
    lease_id,
    outcomeText[outcome],
    by === undefined ? '' : relativeTime(by, io.now()),
  ]);
  printer.table(['LEASE', 'OUTCOME', 'DEAD BY'], rows, empty);
}
