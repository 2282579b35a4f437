/**
 * Work that repeats for the whole life of a process: sweeps, claims, checkpoints. A pass that throws is logged and
 * tried again later, so a loop never dies silently.
 */
export interface LoopLogger {
  error(fields: object, message: string): void;
}

export interface BackgroundLoopOptions {
  /** For logs: `due leases`. */
  readonly name: string;
  /** Longest pause between two passes, in milliseconds; `nudge()` ends it early. */
  readonly intervalMs: number;
  /** One pass. Answers with how many milliseconds to wait at most, or nothing for the interval; 0 goes on at once. */
  readonly pass: () => Promise<number | undefined>;
  readonly logger: LoopLogger;
}

export class BackgroundLoop {
  readonly #options: BackgroundLoopOptions;
  #running: Promise<void> | undefined;
  #stopping = false;
  #nudged = false;
  #wake: (() => void) | undefined;

  constructor(options: BackgroundLoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends after the pass under way. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#wake?.();
    await this.#running;
  }

  /** Has the next pass begin now; one that comes during a pass is not lost. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  async #run(): Promise<void> {
    while (!this.#stopping) {
      this.#nudged = false;
      let pauseMs: number | undefined;
      try {
        pauseMs = await this.#options.pass();
      } catch (error) {
        this.#options.logger.error(
          { err: error },
          `${this.#options.name}: a pass failed and will be tried again`,
        );
      }
      await this.#pause(Math.min(pauseMs ?? this.#options.intervalMs, this.#options.intervalMs));
    }
  }

  async #pause(milliseconds: number): Promise<void> {
    if (this.#stopping || this.#nudged) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }
}
