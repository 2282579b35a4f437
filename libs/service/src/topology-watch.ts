/** The readiness check `streams`: whether streams and consumers are as declared, told in the log when that changes. */
import type { TopologyProblem } from '@mayfly/messaging';

export interface TopologyWatchOptions {
  readonly look: () => Promise<TopologyProblem[]>;
  readonly logger: {
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
    info(fields: object, message: string): void;
  };
  /** Told what every look has found; for metrics. */
  readonly onLook?: (problems: readonly TopologyProblem[]) => void;
}

/**
 * A service whose streams are not as declared is not ready: with another retention or limit an event could be lost without a trace (I2,
 * I8). What is under way goes on, ends above all, because requests over the bus don't ask for readiness.
 */
export class TopologyWatch {
  #told = new Set<string>();

  constructor(private readonly options: TopologyWatchOptions) {}

  /** Looks, and tells what was not told before. */
  async isReady(): Promise<boolean> {
    const { look, logger, onLook } = this.options;
    const problems = await look();
    onLook?.(problems);
    for (const { object, kind, sentence } of problems) {
      if (this.#told.has(sentence)) continue;
      logger[kind === 'missing' ? 'warn' : 'error']({ object, kind }, sentence);
    }
    if (problems.length === 0 && this.#told.size > 0)
      logger.info({}, 'the streams and consumers are as declared again');
    this.#told = new Set(problems.map(({ sentence }) => sentence));
    return problems.length === 0;
  }
}
