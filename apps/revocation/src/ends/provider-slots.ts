/**
 * How much work at providers runs at once: overall, and for each integration, so that a slow upstream fills its own share
 * and leaves the rest to the others.
 */
export interface SlotLimits {
  readonly overall: number;
  readonly perIntegration: number;
}

interface Waiting {
  readonly integration: string;
  readonly start: () => void;
}

export class ProviderSlots {
  /** Held: running or waiting for a slot, by integration. */
  readonly #held = new Map<string, number>();
  readonly #running = new Map<string, number>();
  readonly #waiting: Waiting[] = [];
  #runningOverall = 0;
  #heldOverall = 0;

  constructor(private readonly limits: SlotLimits) {}

  get held(): number {
    return this.#heldOverall;
  }

  heldBy(integration: string): number {
    return this.#held.get(integration) ?? 0;
  }

  /** How much more each integration that has work here may be given, if each may hold `most`. */
  room(most: number): Map<string, number> {
    return new Map([...this.#held].map(([integration, held]) => [integration, Math.max(0, most - held)]));
  }

  /** Runs `work` when a slot is free, in the order of arrival within an integration. */
  async run<T>(integration: string, work: () => Promise<T>): Promise<T> {
    add(this.#held, integration, 1);
    this.#heldOverall++;
    try {
      await this.#slot(integration);
      try {
        return await work();
      } finally {
        add(this.#running, integration, -1);
        this.#runningOverall--;
      }
    } finally {
      add(this.#held, integration, -1);
      this.#heldOverall--;
      this.#startWaiting();
    }
  }

  #slot(integration: string): Promise<void> {
    if (this.#isFree(integration)) {
      this.#take(integration);
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push({ integration, start: resolve }));
  }

  #startWaiting(): void {
    for (let index = 0; index < this.#waiting.length && this.#runningOverall < this.limits.overall;) {
      const next = this.#waiting[index];
      if (next === undefined || !this.#isFree(next.integration)) {
        index++;
        continue;
      }
      this.#waiting.splice(index, 1);
      this.#take(next.integration);
      next.start();
    }
  }

  #isFree(integration: string): boolean {
    return (
      this.#runningOverall < this.limits.overall &&
      (this.#running.get(integration) ?? 0) < this.limits.perIntegration
    );
  }

  #take(integration: string): void {
    add(this.#running, integration, 1);
    this.#runningOverall++;
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}
