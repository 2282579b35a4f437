/**
 * Everything that can end the command: one sentence, what to do next, the trace id, and an exit status that scripts may
 * rely on. Statuses come from the contracts' error table; two more are the shell's own conventions.
 */
import { constants } from 'node:os';
import { blockedReason, errorTable, MayflyError, type ErrorCode } from '@mayfly/contracts';

/** `sysexits.h` EX_USAGE would be 64; shells and most tools use 2. The table has it for `invalid_request` too. */
export const usageExit = errorTable.invalid_request.exit;
/** `revoke --wait`: all have ended, but some keep working until a time that was told. */
export const worksOnExit = 30;
/** `revoke --wait`: time is up and some have not ended yet; it goes on. */
export const notEndedYetExit = 31;
/** `revoke --wait`: time is up and an upstream would not end some so far; they are tried for ever. */
export const failingExit = 32;
/** `sysexits.h` EX_UNAVAILABLE: the gateway can't be reached. */
export const unreachableExit = 69;

/** 128 + n for what signal n has ended (POSIX XCU §2.8.2, as shells have it). */
export function statusOfSignal(signal: NodeJS.Signals): number {
  return 128 + constants.signals[signal];
}

export class CommandFailure extends Error {
  override readonly name = 'CommandFailure';
  readonly exit: number;
  readonly code: ErrorCode | undefined;
  /** What to do now, one sentence. */
  readonly next: string | undefined;
  /** 32 hex digits: the trace that an SRE can open. */
  readonly traceId: string | undefined;

  constructor(
    readonly sentence: string,
    details: {
      readonly exit: number;
      readonly code?: ErrorCode | undefined;
      readonly next?: string | undefined;
      readonly traceId?: string | undefined;
    },
  ) {
    super(sentence);
    this.exit = details.exit;
    this.code = details.code;
    this.next = details.next;
    this.traceId = details.traceId;
  }
}

/** A failure of the table. `next` replaces the code's usual advice. */
export function failureOf(
  code: ErrorCode,
  reason: string,
  {
    traceId,
    next = reason === blockedReason ? blockedAdvice : advice[code],
  }: { traceId?: string | undefined; next?: string } = {},
): CommandFailure {
  return new CommandFailure(asSentence(reason), { exit: errorTable[code].exit, code, next, traceId });
}

/** Whether the same call may succeed later without being changed. */
export function mayPass({ code, exit }: CommandFailure): boolean {
  return code === undefined ? exit === unreachableExit : errorTable[code].retryable;
}

/** Reasons of services are written without a capital and a full stop. */
function asSentence(reason: string): string {
  const start = reason.charAt(0).toUpperCase() + reason.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** `ECONNREFUSED`, `ENOENT` and the like, of an error of the system. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The command line itself is wrong. */
export function usageFailure(sentence: string, next?: string): CommandFailure {
  return new CommandFailure(sentence, { exit: usageExit, next });
}

/**
 * Any thrown value as a failure. What is not one of ours says only its kind: its message might quote a secret, and its
 * stack helps nobody here.
 */
export function asFailure(error: unknown): CommandFailure {
  if (error instanceof CommandFailure) return error;
  if (error instanceof MayflyError) return failureOf(error.code, error.reason);
  const kind = error instanceof Error ? error.name : typeof error;
  return failureOf('internal', `Something inside mayfly went wrong (${kind}).`);
}

/** Of whoever is blocked: nothing that they could change themselves would help. */
export const blockedAdvice =
  'Ask an administrator: `mayfly blocks` tells them why, and `mayfly unblock` ends it.';

const advice: Record<ErrorCode, string> = {
  invalid_request: 'Correct the arguments; `mayfly help <command>` shows examples.',
  unauthenticated:
    'Check the identity token: MAYFLY_IDENTITY_TOKEN, MAYFLY_IDENTITY_TOKEN_FILE, or the files that `npm start` writes.',
  policy_denied:
    '`mayfly credentials` lists what may be asked for; an administrator changes it in mayfly.yaml.',
  scope_exceeded: 'Ask for less; `mayfly credentials` shows the widest scope.',
  ttl_exceeded: 'Ask for less with --ttl; `mayfly credentials` shows the longest.',
  limit_exceeded: 'Give one back first (`mayfly leases`, `mayfly revoke <lease-id>`) or wait until one ends.',
  lease_ended: 'Ask for a new one with `mayfly get`.',
  provider_rejected: 'An administrator must look at the integration; the trace tells what happened.',
  provider_unavailable: 'Try again in a moment; nothing was issued.',
  dependency_unavailable: 'Try again in a moment; nothing was issued.',
  not_found: 'Check the name or the id; `mayfly credentials` and `mayfly leases` list what there is.',
  conflict: 'Look at the current state, then try again.',
  rate_limited: 'Try again in a moment, and less often.',
  internal: 'Give the trace id to whoever runs Mayfly.',
};
