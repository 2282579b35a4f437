/** Whether a service may take work: every check must say yes within its time. */

export type ReadinessCheck = () => Promise<boolean>;

export class Readiness {
  readonly #checks = new Map<string, ReadinessCheck>();
  readonly #timeoutMs: number;
  #stopping = false;

  constructor(timeoutMs = 2_000) {
    this.#timeoutMs = timeoutMs;
  }

  add(name: string, check: ReadinessCheck): void {
    this.#checks.set(name, check);
  }

  /** From now on not ready, so that load balancers turn away before the listener closes. */
  stop(): void {
    this.#stopping = true;
  }

  /** Each check by name. A check that throws or takes too long counts as no. */
  async check(): Promise<{ ready: boolean; checks: Record<string, boolean> }> {
    const entries = await Promise.all(
      [...this.#checks].map(async ([name, check]) => [name, await this.#within(check)] as const),
    );
    return { ready: !this.#stopping && entries.every(([, ok]) => ok), checks: Object.fromEntries(entries) };
  }

  async #within(check: ReadinessCheck): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), this.#timeoutMs);
    });
    try {
      return await Promise.race([check(), timeout]);
    } catch {
      return false;
    } finally {
      clearTimeout(timer);
    }
  }
}
