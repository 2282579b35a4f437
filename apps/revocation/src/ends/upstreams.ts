/**
 * How the upstreams are: one that can't be reached is left alone for a few seconds at a time (a circuit breaker each) by all that
 * can wait. Ending access can't: it is tried whatever the breaker says, each lease after waits of its own. One of those that wait
 * tries again soon, each time another, so that no single lease decides how the upstream is taken to be; and when it is back all the
 * others are due at once.
 *
 * And how minting is, without which none can be asked: while it does not answer, ends that need it stay due and are not taken
 * up, but for one of each upstream every half second, that tells when it is back.
 */
import { bus, MayflyError, type ErrorCode } from '@mayfly/contracts';
import { CircuitBreakers } from '@mayfly/domain';
import type { Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { bringForward, hasten } from '../store/due.ts';
import { upstreamOf, type Lease } from '../store/lease.ts';
import { retryWaitMs, type Backoff } from './backoff.ts';

export interface UpstreamsOptions {
  readonly pool: Pool;
  readonly logger: Pick<Logger, 'warn'>;
  /** Failures in a row after which an upstream is left alone. */
  readonly breakerFailures: number;
  /** For how long at a time, and so the longest until it is seen that it is back. Milliseconds. */
  readonly breakerOpenMs: number;
  /**
   * Longest that minting may be silent, in milliseconds. One that has died gives no answer at all, so this is how late an end is
   * that it had in hand. Where the upstream is slower, minting says so in time and is asked again.
   */
  readonly attemptMs: number;
  /** Looks for due work. */
  readonly due: () => Nudgeable;
}

/** It was not tried, because its upstream is left alone at present. */
export class LeftAlone extends MayflyError {
  constructor() {
    super('provider_unavailable', 'The integration fails and is left alone for a moment.');
  }
}

type Place = Pick<Lease, 'organization' | 'integration'>;
type Call<T> = (limit: { readonly timeoutMs: number }) => Promise<T>;

/** Minting gives a call of a provider up before this; several of its replicas may take their turns. Milliseconds. */
const longestUnderWayMs = bus.minting.revokeAtProvider.bus.timeoutMs;

/**
 * Longest wait when it was not the upstream but a part of Mayfly that did not answer, in milliseconds. Short: a call that a dying
 * replica took along has cost seconds already, and while none answers, minting's breaker bounds the attempts.
 */
const longestOwnWaitMs = 300;

/** After so many of its looks minting is not taken for away any more when nobody was refused: nothing may be left that asks. */
const looksUntilForgotten = 2;

/** Between two looks whether minting answers again. Milliseconds. */
export const mintingProbeMs = 500;
/** The one name in its breaker. */
const minting = 'minting';

export class Upstreams {
  readonly #breakers: CircuitBreakers;
  readonly #minting: CircuitBreakers;
  /** Upstreams of which minting could not be asked to end something, since it last answered anything. */
  readonly #unasked = new Set<string>();
  #silentAt = -Infinity;

  constructor(private readonly options: UpstreamsOptions) {
    this.#breakers = new CircuitBreakers({
      failures: options.breakerFailures,
      openMs: options.breakerOpenMs,
    });
    this.#minting = new CircuitBreakers({ failures: options.breakerFailures, openMs: mintingProbeMs });
  }

  /** How many are left alone at present. */
  get open(): number {
    return this.#breakers.open;
  }

  /** Whether minting has not answered for several calls in a row, the last of them just now. */
  get isMintingAway(): boolean {
    const forgottenAfterMs = this.options.attemptMs + looksUntilForgotten * mintingProbeMs;
    return this.#minting.open > 0 && performance.now() - this.#silentAt < forgottenAfterMs;
  }

  /** While minting is away, the upstreams that wait for it. */
  get waitingForMinting(): readonly string[] {
    return this.isMintingAway ? [...this.#unasked] : [];
  }

  /** Whether it is time to look if minting is back; true once each time. */
  mayProbeMinting(): boolean {
    return this.#minting.mayTry(minting, performance.now());
  }

  /**
   * Makes a call about an integration. Throws `LeftAlone` at once while its upstream is. That it is not answered says little of
   * minting, which has other places for ends.
   */
  attempt<T>(place: Place, call: Call<T>): Promise<T> {
    return this.#attempt(place, () => this.#ask(call));
  }

  async #attempt<T>(lease: Place, work: () => Promise<T>): Promise<T> {
    if (!this.#breakers.mayTry(upstreamOf(lease), performance.now())) throw new LeftAlone();
    return this.#learnFrom(lease, work);
  }

  /** Makes an attempt and notes what it says of the upstream. */
  async #learnFrom<T>(lease: Place, work: () => Promise<T>): Promise<T> {
    const upstream = upstreamOf(lease);
    try {
      const answer = await work();
      await this.#answered(lease);
      return answer;
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error;
      if (error.code === 'provider_rejected') await this.#answered(lease);
      if (error.code === 'provider_unavailable' && this.#breakers.failed(upstream, performance.now())) {
        this.options.logger.warn(
          { organization: lease.organization, integration: lease.integration },
          'an integration fails again and again; it is tried every few seconds only',
        );
      }
      throw error;
    }
  }

  /**
   * Ends access, whether the upstream is left alone or not. It may take an upstream longer than minting may be silent: so minting is
   * asked again, and so waited for, until it knows what became of it. A slow end is one attempt, and one that hangs fails as its
   * upstream's.
   */
  endAccess<Answer extends { readonly outcome: string }>(
    lease: Place & Pick<Lease, 'state'>,
    call: Call<Answer>,
  ): Promise<Answer> {
    return this.#learnFrom(lease, () => this.#waitFor(lease, call));
  }

  /**
   * The same for cleaning up, which can wait: throws `LeftAlone` at once while its upstream is left alone. That it fails says nothing
   * of the upstream, however it fails: how long it takes is in the hands of whoever held the lease.
   */
  async cleanUp<Answer extends { readonly outcome: string }>(
    lease: Place & Pick<Lease, 'state'>,
    call: Call<Answer>,
  ): Promise<Answer> {
    if (!this.#breakers.mayTry(upstreamOf(lease), performance.now())) throw new LeftAlone();
    const answer = await this.#waitFor(lease, call);
    await this.#answered(lease);
    return answer;
  }

  async #waitFor<Answer extends { readonly outcome: string }>(
    lease: Place & Pick<Lease, 'state'>,
    call: Call<Answer>,
  ): Promise<Answer> {
    const started = performance.now();
    while (performance.now() - started < longestUnderWayMs) {
      const answer = await this.#ask(call, lease);
      if (answer.outcome !== 'under_way') return answer;
    }
    throw new MayflyError('provider_unavailable', 'The upstream does not answer.');
  }

  /**
   * Milliseconds until a lease is tried again after an error of this code. Where its upstream can't be reached, another one that
   * waits for the same upstream is brought forward to find out when that is back; this one, when there is no other.
   */
  async waitMs(lease: Lease, code: ErrorCode, backoff: Backoff): Promise<number> {
    const { pool, breakerOpenMs } = this.options;
    const waitMs = retryWaitMs(lease.attempts, backoff);
    if (code === 'dependency_unavailable') return longestOwnWaitMs * (1 - Math.random() / 2);
    if (code !== 'provider_unavailable') return waitMs;
    const isProbeWanted = this.#breakers.becomeProbe(upstreamOf(lease), performance.now());
    if (!isProbeWanted || (await bringForward(pool, lease, breakerOpenMs))) return waitMs;
    return Math.min(waitMs, breakerOpenMs);
  }

  /**
   * Milliseconds until a lease is due again that was not tried, because its upstream is left alone: about as long as that has
   * failed by now, so that what waits is looked at ever more seldom. When the upstream is back, all are due at once.
   */
  waitOutMs(lease: Place, { longestMs }: Backoff): number {
    const { breakerOpenMs } = this.options;
    const [upstream, now] = [upstreamOf(lease), performance.now()];
    if (this.#breakers.becomeProbe(upstream, now)) return Math.min(breakerOpenMs, longestMs);
    const failingForMs = this.#breakers.failingForMs(upstream, now);
    return retryWaitMs(1, { firstMs: Math.max(breakerOpenMs, failingForMs), longestMs });
  }

  /** One call of minting; notes that it answers, if only to refuse, and that it does not where something of a lease was asked. */
  async #ask<T>(call: Call<T>, lease?: Place & Pick<Lease, 'state'>): Promise<T> {
    try {
      const answer = await call({ timeoutMs: this.options.attemptMs });
      this.#mintingAnswered();
      return answer;
    } catch (error) {
      if (!(error instanceof MayflyError)) throw error;
      if (error.code !== 'dependency_unavailable') this.#mintingAnswered();
      else if (lease !== undefined) this.#mintingIsSilent(lease);
      throw error;
    }
  }

  #mintingIsSilent(lease: Place & Pick<Lease, 'state'>): void {
    this.#silentAt = performance.now();
    // A clean-up may be of an upstream whose ends need no minting at all.
    if (lease.state === 'revoking' || lease.state === 'revocation_failed')
      this.#unasked.add(upstreamOf(lease));
    if (this.#minting.failed(minting, this.#silentAt)) {
      this.options.logger.warn({}, 'minting does not answer; what needs it waits until it does');
    }
  }

  /** What waited has stayed due: it is taken up at once. */
  #mintingAnswered(): void {
    if (!this.#minting.succeeded(minting)) return;
    this.#unasked.clear();
    this.options.due().nudge();
  }

  async #answered(lease: Place): Promise<void> {
    if (!this.#breakers.succeeded(upstreamOf(lease))) return;
    // Best effort: what is not hastened is tried when its time comes.
    const hastened = await hasten(this.options.pool, lease).catch(() => 0);
    if (hastened > 0) this.options.due().nudge();
  }
}
