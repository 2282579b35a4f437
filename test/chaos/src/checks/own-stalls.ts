/**
 * Notices when the suite itself did not run for a while: a machine that was suspended, or gave all its time to others. What
 * was late because of that says nothing about Mayfly, so it counts as a fault, and is told.
 */
import type { FaultLog } from './fault-log.ts';

const lookEveryMs = 200;
/** Longer than any work of ours takes at a time, the sweep at the end apart. */
const stallMs = 2_000;

export class OwnStalls {
  count = 0;
  totalMs = 0;
  #last = Date.now();
  readonly #timer: NodeJS.Timeout;

  constructor(private readonly faults: FaultLog) {
    this.#timer = setInterval(() => this.#look(Date.now()), lookEveryMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(now: number): void {
    if (now - this.#last > stallMs) {
      this.count++;
      this.totalMs += now - this.#last;
      this.faults.add({ name: 'the suite itself was stopped', start: this.#last, end: now });
    }
    this.#last = now;
  }
}
