/** Waiting for a revocation in front of a person or a script: a bar, lines now and then, or JSON lines; then an exit status. */
import type { RevocationView, RevokedLease } from '@mayfly/contracts';
import { advising, onlyFor, type Advice } from '../advice.ts';
import type { CommandContext } from '../command-context.ts';
import { Interrupted } from '../execution/signal-relay.ts';
import {
  failingExit,
  notEndedYetExit,
  statusOfSignal,
  worksOnExit,
  type CommandFailure,
} from '../failure.ts';
import { relativeTime } from '../output/times.ts';
import { followRevocation, type Followed } from './follow.ts';
import { outcomeText } from './outcomes.ts';
import { PatientReader, type Sessions } from './patient-reader.ts';

/** Up to so many leases each is named as it ends; of more only their number is told, except as JSON. */
const mostNamed = 100;
const lineEveryMs = 5_000;

export interface WaitOptions {
  readonly timeoutSeconds: number;
  readonly json: boolean;
  /** It has just been accepted, so nobody has seen its id yet. */
  readonly isNew?: boolean;
}

/** Sets the exit status: 0, 30, 31 or 32, as `mayfly help` says, or that of the signal which ended the waiting. */
export async function waitForRevocation(
  context: CommandContext,
  sessions: Sessions,
  revocationId: string,
  { timeoutSeconds, json, isNew = false }: WaitOptions,
): Promise<void> {
  const { io, printer } = context;
  const show = json ? asJsonLines(context) : asText(context);
  if (isNew && !json) printer.note(`Accepted as ${revocationId}; stopping this wait does not stop it.`);
  const stop = new AbortController();
  const stopListening = io.onSignal((signal) => stop.abort(new Interrupted(signal)));
  const reader = new PatientReader({
    ...sessions,
    io,
    revocationId,
    timeoutSeconds,
    signal: stop.signal,
    waiting: (failure) => {
      show.interrupted();
      printer.note(waitingText(failure));
    },
  });
  try {
    const followed = await advising(
      followRevocation(reader, (matched) => json || matched <= mostNamed, show),
      adviceFor(revocationId),
    );
    const { outcome, exit } = resultOf(followed);
    context.exitStatus = exit;
    show.finished(followed, outcome);
  } catch (error) {
    show.interrupted();
    if (!(error instanceof Interrupted)) throw error;
    printer.note(`The revocation goes on; \`mayfly revocations ${revocationId} --wait\` follows it.`);
    context.exitStatus = statusOfSignal(error.signal);
  } finally {
    stopListening();
  }
}

function waitingText({ code, sentence }: CommandFailure): string {
  return code === 'not_found'
    ? 'This revocation is not known yet; one that `mayfly apply` has ordered takes a moment. Waiting for it.'
    : `${sentence} The revocation goes on, and this waits until the gateway answers again.`;
}

function adviceFor(revocationId: string): Advice {
  const follow = `\`mayfly revocations ${revocationId} --wait\``;
  const goesOn = `The revocation goes on by itself; ${follow} follows it.`;
  return {
    dependency_unavailable: goesOn,
    unreachable: goesOn,
    rate_limited: goesOn,
    internal: ({ next }) => `${next ?? ''} ${goesOn}`.trimStart(),
    unauthenticated: `The revocation goes on by itself; with a fresh identity token ${follow} follows it.`,
    ...unknownRevocation,
    ...onlyFor('an administrator'),
  };
}

export const unknownRevocation: Advice = {
  not_found:
    '`mayfly revocations` lists those that there are; they are kept for a while after they are done.',
};

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
  /** Something else is going to be written. */
  interrupted(): void;
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
    interrupted: () => undefined,
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
  const bar = printer.progressBar();
  let lineAt = io.now().getTime() + lineEveryMs;
  return {
    progress: (revocation) => {
      if (bar !== undefined) {
        const total = revocation.status === 'gathering' ? undefined : revocation.matched;
        bar.show(revocation.revoked, total, progressText(revocation));
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
    interrupted: () => bar?.clear(),
    finished: (followed, outcome) => {
      bar?.clear();
      printer.note(resultText(followed, outcome, io.now()));
    },
  };
}

function progressText({ status, matched, revoked, failing }: RevocationView): string {
  const ended =
    status === 'gathering' ? `${revoked} ended of ${matched} found so far` : `${revoked} of ${matched} ended`;
  return `${ended}${failing === 0 ? '' : `, ${failing} failing`}`;
}

function resultText({ revocation, worksUntil }: Followed, outcome: Outcome, now: Date): string {
  const { revocation_id, status, matched, revoked, pending, failing, by_revocability: how } = revocation;
  const ended =
    status === 'gathering'
      ? progressText(revocation)
      : `${revoked} of ${matched} ${matched === 1 ? 'lease' : 'leases'} ended`;
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
