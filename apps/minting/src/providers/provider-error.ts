/**
 * How a provider says that its upstream did not do what was asked. The sentence is the provider's own and may be shown to
 * the asker; what the upstream said goes into `cause`, which is only logged.
 */
import { errorTable, MayflyError } from '@mayfly/contracts';
import type { CircuitBreakers } from '@mayfly/domain';

/**
 * What a failed call may have left upstream. `unknown` when the answer is missing (a timeout, a connection cut):
 * something may exist, and what has a name is looked for.
 */
export type Effect = 'none' | 'unknown';

interface ProviderErrorOptions {
  /** Default `none`. */
  readonly effect?: Effect;
  readonly cause?: unknown;
}

abstract class ProviderError extends Error {
  abstract readonly code: 'provider_rejected' | 'provider_unavailable';
  readonly effect: Effect;

  constructor(
    readonly reason: string,
    options: ProviderErrorOptions = {},
  ) {
    super(reason, options.cause === undefined ? {} : { cause: options.cause });
    this.effect = options.effect ?? 'none';
  }
}

/** The upstream refused, and would again: wrong settings, missing rights, something that does not exist. */
export class ProviderRejected extends ProviderError {
  override readonly name = 'ProviderRejected';
  readonly code = 'provider_rejected';
}

/** The upstream could not be reached, did not answer in time, or asked to come back later. */
export class ProviderUnavailable extends ProviderError {
  override readonly name = 'ProviderUnavailable';
  readonly code = 'provider_unavailable';
}

/**
 * It could not be done now for a reason that says nothing of how the upstream is: too much waits here for the same one, or what
 * somebody did there is in the way. No circuit breaker counts it.
 */
export class ProviderBusy extends ProviderUnavailable {}

export type ProviderFailure = ProviderRejected | ProviderUnavailable;

/**
 * Whatever a provider threw, as one of the two. What is neither is a defect or an error that the provider did not know:
 * told as unavailable, because nobody can say what it left behind.
 */
export function asProviderFailure(error: unknown): ProviderFailure {
  if (error instanceof ProviderRejected || error instanceof ProviderUnavailable) return error;
  if (error instanceof MayflyError) {
    if (errorTable[error.code].retryable)
      return new ProviderUnavailable('the provider failed', { cause: error });
    return new ProviderRejected('the provider could not do what the configuration asks', { cause: error });
  }
  return new ProviderUnavailable('the provider failed', { effect: 'unknown', cause: error });
}

/** What a circuit breaker learns from a failure about the upstream of this place. */
export function noteFailure(breakers: CircuitBreakers, place: string, failure: ProviderFailure): void {
  if (failure instanceof ProviderBusy) return;
  if (failure.code === 'provider_unavailable') breakers.failed(place, performance.now());
  else breakers.succeeded(place);
}

/** The same failure of a call of which nobody knows what it left. */
export function mayHaveTakenEffect(failure: ProviderFailure): ProviderFailure {
  const options = { effect: 'unknown', cause: failure.cause } as const;
  return failure instanceof ProviderRejected
    ? new ProviderRejected(failure.reason, options)
    : new ProviderUnavailable(failure.reason, options);
}

/** For the edge of the service: the code of the table and the provider's own sentence. */
export function asMayflyError(failure: ProviderFailure): MayflyError {
  return new MayflyError(failure.code, failure.reason, { cause: failure.cause ?? failure });
}
