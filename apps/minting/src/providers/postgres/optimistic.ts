/**
 * Work in the customer's database without locks of our own: an agent may take any lock that a login may take, and would stop all
 * mints with it. So a statement waits for others for milliseconds only, and what met another's change is tried again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { sqlStateOf } from './upstream-error.ts';

/** How long a statement waits for a lock, in milliseconds: longer than a transaction of ours takes, so that few are tried again. */
export const lockWaitMs = 25;

/** The same for what only a role with CREATEROLE can hold, such as the name of a role that is being made: others of ours take long. */
export const adminLockWaitMs = 2_000;

/** Times that something is tried which met another's change. */
export const mostAttempts = 6;

/** SQLSTATE of a look at a group that something held up, see make-group.ts. No class of PostgreSQL's. */
export const heldUp = 'MF004';

/** Says what the server meant: `lock_not_available`, "tuple concurrently updated" (there is no better code for it), … */
const contentionStates: readonly string[] = [
  heldUp,
  '55P03', // lock_not_available
  'XX000', // internal_error: tuple concurrently updated
  '40P01', // deadlock_detected
  '40001', // serialization_failure
  '42710', // duplicate_object: a role that another has just made
  '23505', // unique_violation: the same, at the same moment
  '42704', // undefined_object: a role that another has just renamed or dropped
];

/** Whether a failure came of what another did at the same time, so that the statement may work when it is run again. */
export function isContention(error: unknown): boolean {
  return contentionStates.includes(sqlStateOf(error instanceof Error ? error.cause : undefined) ?? '');
}

/** Runs `attempt` again while it meets contention. Throws what the last attempt threw. */
export async function optimistically<T>(
  attempt: (number: number, before: unknown) => Promise<T>,
): Promise<T> {
  let before: unknown;
  for (let number = 1; ; number++) {
    try {
      return await attempt(number, before);
    } catch (error) {
      if (number === mostAttempts || !isContention(error)) throw error;
      before = error;
    }
    // At random, so that two that met don't meet again.
    await sleep(Math.random() * 10 * number);
  }
}
