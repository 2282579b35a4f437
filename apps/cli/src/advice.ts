/**
 * What to do about a failure, told by the command itself: the same code means one thing when a credential was asked for and
 * another when somebody was to be blocked.
 */
import type { ErrorCode } from '@mayfly/contracts';
import { blockedAdvice, CommandFailure, unreachableExit } from './failure.ts';

/** By code, or `unreachable`: the gateway did not answer at all. What is not here keeps its usual advice. */
export type Advice = Readonly<
  Partial<Record<ErrorCode | 'unreachable', string | ((failure: CommandFailure) => string)>>
>;

/** What `attempt` gives; when it fails, its failure with this advice. */
export async function advising<T>(attempt: Promise<T>, advice: Advice): Promise<T> {
  try {
    return await attempt;
  } catch (error) {
    throw error instanceof CommandFailure ? advised(error, advice) : error;
  }
}

function advised(failure: CommandFailure, advice: Advice): CommandFailure {
  // Whatever the blocked do, only an administrator helps.
  if (failure.next === blockedAdvice) return failure;
  const { sentence, exit, code, traceId } = failure;
  const own = exit === unreachableExit ? advice.unreachable : code === undefined ? undefined : advice[code];
  if (own === undefined) return failure;
  const next = typeof own === 'string' ? own : own(failure);
  return new CommandFailure(sentence, { exit, code, next, traceId });
}

/** For when the answer is lost, and with it whether what was asked for is done. */
export function maybeDone(sentence: string): Advice {
  return { dependency_unavailable: sentence, unreachable: sentence };
}

/** @param who `an administrator`, `a platform administrator`. */
export function onlyFor(who: string): Advice {
  return { policy_denied: `It takes ${who}; --as or --identity-token-file names another identity.` };
}
