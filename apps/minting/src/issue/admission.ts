/**
 * How many mints run at once at one integration. An upstream that hangs fills its own places and queue; it doesn't take
 * those of others, nor this process.
 */
import { MayflyError } from '@mayfly/contracts';

export interface AdmissionLimits {
  /** Mints at once at one integration. */
  readonly perIntegration: number;
  /** Mints that may wait for one of those. */
  readonly queue: number;
  /** Longest wait, in milliseconds: a grant lives 30 s. */
  readonly waitMs: number;
}

interface Gate {
  running: number;
  readonly waiting: Set<() => void>;
}

export class Admission {
  readonly #gates = new Map<string, Gate>();

  constructor(private readonly limits: AdmissionLimits) {}

  /**
   * Runs `work` when there is a place. Throws `provider_unavailable` when too many wait already, or for too long (`waitMs`,
   * or `timeLeftMs` if that is less): then `work` has not begun.
   */
  async run<T>(integration: string, timeLeftMs: number, work: () => Promise<T>): Promise<T> {
    const gate = this.#gates.get(integration) ?? { running: 0, waiting: new Set() };
    this.#gates.set(integration, gate);
    if (gate.running >= this.limits.perIntegration) {
      await this.#wait(gate, Math.min(this.limits.waitMs, timeLeftMs));
    } else {
      gate.running++;
    }
    try {
      return await work();
    } finally {
      this.#release(integration, gate);
    }
  }

  /** The place of one that has finished goes to the first that waits; `running` stays as it is. */
  #release(integration: string, gate: Gate): void {
    const [next] = gate.waiting;
    if (next !== undefined) {
      gate.waiting.delete(next);
      next();
      return;
    }
    gate.running--;
    if (gate.running === 0) this.#gates.delete(integration);
  }

  #wait(gate: Gate, milliseconds: number): Promise<void> {
    if (gate.waiting.size >= this.limits.queue || milliseconds <= 0) return Promise.reject(tooBusy());
    return new Promise((resolve, reject) => {
      const admit = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        gate.waiting.delete(admit);
        reject(tooBusy());
      }, milliseconds);
      gate.waiting.add(admit);
    });
  }
}

function tooBusy(): MayflyError {
  return new MayflyError('provider_unavailable', 'too many credentials are being minted at this integration');
}
