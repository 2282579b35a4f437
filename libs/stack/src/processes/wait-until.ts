/** Polling a condition with a deadline: how everything in the stack waits, so that nothing sleeps for luck. */

/** How long and how often to ask. Times in milliseconds. */
export interface WaitOptions {
  readonly deadlineMs: number;
  readonly intervalMs?: number;
  /** Ends the waiting early; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** Thrown when the condition did not come true in time. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
}

/**
 * Waits until `condition` answers true. A condition that throws counts as "not yet"; its last error becomes the
 * cause when the deadline passes.
 * @throws DeadlineExceeded after `deadlineMs`, or the reason of `signal`
 */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { deadlineMs, intervalMs = 25, signal }: WaitOptions,
): Promise<void> {
  const end = Date.now() + deadlineMs;
  let lastError: unknown;
  for (;;) {
    signal?.throwIfAborted();
    try {
      if (await condition()) return;
    } catch (error) {
      lastError = error;
    }
    signal?.throwIfAborted();
    if (Date.now() >= end)
      throw new DeadlineExceeded(`${what} took longer than ${String(deadlineMs)} ms`, { cause: lastError });
    await pause(intervalMs, signal);
  }
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}
