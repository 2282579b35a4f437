/** Waiting for a revocation in front of a person or a script: a bar, lines now and then, or JSON lines; then an exit status. */
import type { RevocationView, RevokedLease } from '@mayfly/contracts';
import type { Session } from '../api/session.ts';
import type { CommandContext } from '../command-context.ts';
import { failingExit, notEndedYetExit, worksOnExit } from '../failure.ts';
import { ProgressBar } from '../output/progress-bar.ts';
import { relativeTime } from '../output/times.ts';
import { followRevocation, type Followed } from './follow.ts';
import { outcomeText } from './outcomes.ts';

/** Up to so many leases each is named as it ends; of more only their number is told, except as JSON. */
const mostNamed = 100;
const lineEveryMs = 5_000;

export interface WaitOptions {
  readonly timeoutSeconds: number;
  readonly json: boolean;
}

/** Sets the exit status: 0, 30, 31 or 32, as `mayfly help` says. */
export async function waitForRevocation(
  context: CommandContext,
  session: Session,
  revocationId: string,
  { timeoutSeconds, json }: WaitOptions,
): Promise<void> {
  const show = json ? asJsonLines(context) : asText(context);
  const followed = await followRevocation(
    context.io,
    session,
    revocationId,
    { timeoutSeconds, eachLease: (matched) => json || matched <= mostNamed },
    show,
  );
  const { outcome, exit } = resultOf(followed);
  context.exitStatus = exit;
  show.finished(followed, outcome);
}

type Outcome = 'ended' | 'works_on' | 'not_ended_yet' | 'failing';

function resultOf({ revocation }: Followed): { outcome: Outcome; exit: number } {
  const { status, failing, by_revocability: how } = revocation;
  if (status !== 'done') {
    return failing > 0
      ? { outcome: 'failing', exit: failingExit }
      : { outcome: 'not_ended_yet', exit: notEndedYetExit };
  }
  return how.eventual + how.expiry_only > 0
    ? { outcome: 'works_on', exit: worksOnExit }
    : { outcome: 'ended', exit: 0 };
}

interface Show {
  progress(revocation: RevocationView): void;
  ended(lease: RevokedLease): void;
  finished(followed: Followed, outcome: Outcome): void;
}

function asJsonLines({ printer }: CommandContext): Show {
  let before = '';
  return {
    progress: (revocation) => {
      const line = JSON.stringify(revocation);
      if (line !== before) printer.jsonLine({ type: 'progress', revocation });
      before = line;
    },
    ended: (lease) => printer.jsonLine({ type: 'lease', lease }),
    finished: ({ revocation, worksUntil }, outcome) =>
      printer.jsonLine({
        type: 'result',
        outcome,
        revocation,
        ...(worksUntil === undefined ? {} : { works_until: worksUntil }),
      }),
  };
}

function asText({ io, printer }: CommandContext): Show {
  const bar = io.stderr.isTerminal ? new ProgressBar(io.stderr) : undefined;
  let lineAt = io.now().getTime() + lineEveryMs;
  return {
    progress: (revocation) => {
      if (bar !== undefined) {
        bar.show(revocation.revoked, revocation.matched, progressText(revocation));
      } else if (io.now().getTime() >= lineAt && revocation.status !== 'done') {
        lineAt = io.now().getTime() + lineEveryMs;
        printer.note(progressText(revocation));
      }
    },
    ended: ({ lease_id, outcome, credential, by }) => {
      bar?.clear();
      const until = by === undefined ? '' : `, dead ${relativeTime(by, io.now())}`;
      printer.line(`${lease_id}  ${credential}  ${outcomeText[outcome]}${until}`);
    },
    finished: (followed, outcome) => {
      bar?.clear();
      printer.note(resultText(followed, outcome, io.now()));
    },
  };
}

function progressText({ status, matched, revoked, failing }: RevocationView): string {
  const found = status === 'gathering' ? `${matched} found so far` : `${matched}`;
  return `${revoked} of ${found} ended${failing === 0 ? '' : `, ${failing} failing`}`;
}

function resultText({ revocation, worksUntil }: Followed, outcome: Outcome, now: Date): string {
  const { revocation_id, matched, revoked, pending, failing, by_revocability: how } = revocation;
  const ended = `${revoked} of ${matched} ${matched === 1 ? 'lease' : 'leases'} ended`;
  switch (outcome) {
    case 'ended':
      return matched === 0 ? 'no live lease matches; mints under way for it come to nothing' : ended;
    case 'works_on': {
      const until =
        worksUntil === undefined ? '' : `; the last is dead ${relativeTime(worksUntil, now)} (${worksUntil})`;
      return `${ended}, ${how.eventual} in effect soon, ${how.expiry_only} that can't be called back${until}`;
    }
    case 'not_ended_yet':
      return `${ended}, ${pending} not yet; it goes on: \`mayfly revocations ${revocation_id} --wait\``;
    case 'failing':
      return `${ended}, ${failing} can't be ended so far and are tried for ever, ${pending} not yet; \`mayfly revocations ${revocation_id}\` names them`;
  }
}
