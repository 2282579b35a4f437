/** How long a provider call may take, and how it matters. On the monotonic clock, which a paused process can't escape. */

export interface Deadline {
  /** Ends something: goes first where it waits with what begins something. */
  readonly isVital: boolean;
  /** Aborts when the time is over. */
  readonly signal: AbortSignal;
  /** Milliseconds left; 0 or less when it is over, even where the timer of `signal` has not run yet. */
  remainingMs(): number;
}

/** A deadline `milliseconds` from now. */
export function deadlineIn(milliseconds: number, { isVital = false } = {}): Deadline {
  const end = performance.now() + milliseconds;
  return {
    isVital,
    signal: AbortSignal.timeout(Math.max(0, Math.floor(milliseconds))),
    remainingMs: () => end - performance.now(),
  };
}

/** Rejects with what `error` makes when the deadline passes first. What `work` does later goes unheard. */
export function withinDeadline<T>(work: Promise<T>, { signal }: Deadline, error: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(error());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
