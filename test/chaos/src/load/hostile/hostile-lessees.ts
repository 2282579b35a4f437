/** All hostile lessees of a run, each with a habit by chance. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { HeldCredential } from '../ledger.ts';
import type { Random } from '../random.ts';
import type { Habit } from './habits.ts';
import { HostileLessee } from './hostile-lessee.ts';

/**
 * Hostile agents are in orchestrations of their own, since an orchestration whose leases can't be cleaned up is refused more
 * of them. They are several, so that one that is refused does not end the hostility.
 */
const orchestrations = 4;
const orchestrationPrefix = 'hostile-';
/** Longer than a lessee tries after the end of its lease. Milliseconds. */
const giveUpWithinMs = 12_000;

/** The orchestration of the hostile agent of this number. */
export function hostileOrchestration(number: number): string {
  return `${orchestrationPrefix}${String(number % orchestrations)}`;
}

/** Whether an agent of this SPIFFE ID is hostile. */
export function isHostileAgent(agentId: string): boolean {
  return agentId.includes(`/agent/${orchestrationPrefix}`);
}

export class HostileLessees {
  readonly #lessees: HostileLessee[] = [];
  readonly #misbehaving = new Set<Promise<void>>();

  constructor(
    private readonly habits: readonly Habit[],
    private readonly random: Random,
  ) {}

  /** Puts a lease into hostile hands. Throws where there is no habit to be had. */
  take(credential: HeldCredential): void {
    const [first, ...others] = this.habits;
    if (first === undefined) throw new Error('hostile agents have nothing that they could do');
    const habit = this.random.pick([first, ...others]);
    const lessee = new HostileLessee(credential, habit, this.random);
    this.#lessees.push(lessee);
    this.#misbehaving.add(lessee.misbehave());
  }

  /** Resolves when nobody tries any more to work with a lease, or when those that are left have had the time for it. */
  async untilGivenUp(): Promise<void> {
    const over = new AbortController();
    const tooLong = sleep(giveUpWithinMs, undefined, { signal: over.signal }).catch(() => undefined);
    await Promise.race([Promise.all(this.#misbehaving), tooLong]);
    over.abort();
  }

  all(): readonly HostileLessee[] {
    return this.#lessees;
  }

  stop(): void {
    for (const lessee of this.#lessees) lessee.stop();
  }
}
