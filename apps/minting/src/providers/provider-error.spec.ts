import { describe, expect, it } from '@jest/globals';
import { CircuitBreakers } from '@mayfly/domain';
import { noteFailure, ProviderBusy, ProviderRejected, ProviderUnavailable } from './provider-error.ts';

describe('a circuit breaker', () => {
  const opensBy = (failure: ProviderRejected | ProviderUnavailable) => {
    const breakers = new CircuitBreakers({ failures: 3, openMs: 60_000 });
    for (let time = 0; time < 10; time++) noteFailure(breakers, 'acme/orders-db', failure);
    return !breakers.mayTry('acme/orders-db', performance.now());
  };

  it('opens for an upstream that is away', () => {
    expect(opensBy(new ProviderUnavailable('the database cannot be reached'))).toBe(true);
  });

  it('learns nothing of the upstream from what one lease brings about, nor from a refusal', () => {
    expect(opensBy(new ProviderBusy('something in the database is in the way'))).toBe(false);
    expect(opensBy(new ProviderRejected('the database refused'))).toBe(false);
  });
});
