/**
 * A circuit breaker for another service of Mayfly: what would need it is refused at once while it is silent, but for one attempt
 * each while that finds out whether it is back. An answer is one even if it refuses; that it is overloaded is none.
 */
import { MayflyError, type ServiceName } from '@mayfly/contracts';
import { CircuitBreakers, type BreakerOptions } from '@mayfly/domain';
import type { BusLogger } from '../connection.ts';
import { remainingMs } from '../deadline.ts';

export interface PeerBreakerOptions extends Pick<BreakerOptions, 'failures' | 'openMs'> {
  readonly peer: ServiceName;
  readonly logger: Pick<BusLogger, 'warn'>;
}

export class PeerBreaker {
  readonly #breakers: CircuitBreakers;

  constructor(private readonly options: PeerBreakerOptions) {
    this.#breakers = new CircuitBreakers(options);
  }

  /**
   * Right before what ends with a call of the peer, whichever way it goes: who is let through is the one that finds out. Throws
   * `dependency_unavailable` while the peer is silent.
   */
  refuseWhileSilent(): void {
    const { peer } = this.options;
    if (this.#breakers.mayTry(peer, performance.now())) return;
    throw new MayflyError('dependency_unavailable', `${peer} does not answer; it is tried again in a moment`);
  }

  /** Makes a call of the peer, and notes whether it is answered. */
  async listening<T>(call: () => Promise<T>): Promise<T> {
    const { peer, logger } = this.options;
    // Without time it is not asked at all.
    const isAsked = remainingMs() >= 1;
    try {
      const answer = await call();
      this.#breakers.succeeded(peer);
      return answer;
    } catch (error) {
      if (error instanceof MayflyError && error.code !== 'dependency_unavailable')
        this.#breakers.succeeded(peer);
      else if (isAsked && this.#breakers.failed(peer, performance.now()))
        logger.warn({}, `${peer} does not answer; what needs it is refused until it does`);
      throw error;
    }
  }
}
