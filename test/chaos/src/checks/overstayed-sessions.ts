/** Sessions that the server still has although their lease is over, as the server itself tells it; also those that nobody can ask. */
import { graceMs, type FaultLog } from './fault-log.ts';
import type { UpstreamSessions } from './register.ts';

export class OverstayedSessions {
  readonly #violations = new Map<string, string>();
  readonly #overMs = new Map<string, number>();

  constructor(private readonly faults: FaultLog) {}

  get violations(): string[] {
    return [...this.#violations.values()];
  }

  /** How long after its end, less what stood in the way, a lease was last seen to have a session. Milliseconds; 0 when never. */
  overMs(leaseId: string): number {
    return this.#overMs.get(leaseId) ?? 0;
  }

  /** Notes what was there at `now`. */
  look(sessions: readonly UpstreamSessions[], now: number): void {
    for (const { leaseId, overAt, told } of sessions) {
      const over = this.faults.healthyBetween(overAt, now);
      if (over === 0) continue;
      this.#overMs.set(leaseId, over);
      if (over > graceMs)
        this.#violations.set(leaseId, `${leaseId} has ${told} ${(over / 1000).toFixed(1)} s after its end`);
    }
  }
}
