/**
 * How long there is left for the request being handled. It lives in an AsyncLocalStorage of its own, so that it works
 * without telemetry, and is measured on the monotonic clock, so that a step of the wall clock changes nothing.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

const storage = new AsyncLocalStorage<number | undefined>();

/** Runs `work` with at most `ms` milliseconds for the calls it makes; an earlier deadline stays. */
export function withDeadline<T>(ms: number, work: () => T): T {
  return storage.run(performance.now() + Math.min(ms, remainingMs()), work);
}

/**
 * Runs `work` without the caller's deadline. For whatever goes on after the reply (retries, relays): started from a handler
 * without this, it would inherit a deadline that has long passed.
 */
export function withoutDeadline<T>(work: () => T): T {
  return storage.run(undefined, work);
}

/** Milliseconds left; may be negative; `Infinity` when nothing is being handled. */
export function remainingMs(): number {
  const deadline = storage.getStore();
  return deadline === undefined ? Infinity : deadline - performance.now();
}
