/** How long a request may take here, by what its caller said. */
import type { MsgHdrs } from '@nats-io/transport-node';
import { deadlineHeader, readWholeNumber, timeoutHeader } from './wire.ts';

/** Largest difference between two services' clocks, in milliseconds (design: failure table). */
export const clockToleranceMs = 30_000;

/**
 * Milliseconds, at most the operation's own timeout; 0 or less when the caller has surely given up.
 *
 * An absolute deadline means nothing between clocks that may be 30 s apart: read as it stands, a clock that is ahead would
 * refuse every request with a short timeout. So the time allowed is the caller's relative `mayfly-timeout`, and
 * `mayfly-deadline` only refuses what is late beyond any difference of clocks. Headers that make no sense count as absent:
 * then the operation's own timeout holds.
 */
export function timeAllowed(
  headers: MsgHdrs | undefined,
  operationTimeoutMs: number,
  now = Date.now(),
): number {
  if (headers === undefined) return operationTimeoutMs;
  const deadline = readWholeNumber(headers.get(deadlineHeader));
  if (deadline !== undefined && deadline + clockToleranceMs < now) return 0;
  const timeout = readWholeNumber(headers.get(timeoutHeader));
  return timeout === undefined ? operationTimeoutMs : Math.min(timeout, operationTimeoutMs);
}
