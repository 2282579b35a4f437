/** Ends a lease and takes the time: until the answer, and until the customer's superuser sees that access is over. */
import { hasNoAccess, type RoleIdentity } from './leftovers.ts';
import type { Lessee } from './lessee.ts';
import type { Broker, CleanUp, Lease } from './provider-under-test.ts';
import type { Upstream } from './upstream.ts';

/** What an end came to. Times are in milliseconds from its beginning. */
export interface End {
  /** Undefined when the provider failed. */
  readonly cleanUp: CleanUp | undefined;
  readonly answeredMs: number;
  /** When no session and no login was left; undefined when there was one after the answer. */
  readonly accessEndedMs: number | undefined;
  /** Why the provider failed. */
  readonly failure?: string;
}

/** Ends the lease, once. */
export async function end(upstream: Upstream, lessee: Lessee, role: RoleIdentity): Promise<End> {
  const begun = performance.now();
  const answered: { at?: number } = {};
  const watching = watch(upstream, role, begun, () => answered.at);
  const answer = await upstream.broker.end(lessee.lease).catch((error: unknown) => describe(error));
  answered.at = performance.now();
  const answeredMs = answered.at - begun;
  if (typeof answer !== 'string') lessee.mayNotWorkAfter(performance.now());
  const accessEndedMs = await watching;
  return typeof answer === 'string'
    ? { cleanUp: undefined, answeredMs, accessEndedMs, failure: answer }
    : { cleanUp: answer.cleanUp, answeredMs, accessEndedMs };
}

/**
 * Looks until access is over; once more after the answer, and then no longer. A server without a lock to spare shows nobody anything:
 * then the look that comes next counts for the moment of the answer.
 */
async function watch(
  upstream: Upstream,
  role: RoleIdentity,
  begun: number,
  answeredAt: () => number | undefined,
): Promise<number | undefined> {
  const until = begun + 60_000;
  for (let wasBlind = false; ;) {
    const answered = answeredAt();
    const isOver = await hasNoAccess(upstream, role).catch(() => undefined);
    const now = performance.now();
    if (isOver === true) return (wasBlind ? Math.min(now, answered ?? now) : now) - begun;
    if (answered !== undefined && (isOver === false || now > until)) return undefined;
    wasBlind = isOver === undefined;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Cleans up until that is done or `patienceMs` are over; at least once. The reason why it is not done. */
export async function cleanUp(broker: Broker, lease: Lease, patienceMs: number): Promise<string | undefined> {
  const until = performance.now() + patienceMs;
  for (;;) {
    const answer = await broker.cleanUp(lease).catch((error: unknown) => describe(error));
    if (answer === 'done') return undefined;
    if (performance.now() > until) return answer;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** With what PostgreSQL said, which is the cause. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error ? `${error.message} (${cause.message})` : error.message;
}
