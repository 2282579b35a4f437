import { describe, expect, it } from '@jest/globals';
import { newEvent } from '@mayfly/messaging';
import { cleanUpNewsOf } from './clean-up-news.ts';

const a = '018f0000-0000-7000-8000-00000000000a';
const b = '018f0000-0000-7000-8000-00000000000b';
const place = {
  organization: 'acme',
  integration: 'orders-db',
  agent_id: 'spiffe://acme.example/agent/ci/build/1',
};
const failed = (lease_id: string, more = {}) =>
  newEvent('revocation', 'credential.cleanup_failed', { lease_id, ...place, ...more });
const cleanedUp = (lease_id: string) =>
  newEvent('revocation', 'credential.cleaned_up', { lease_id, ...place });

describe('cleanUpNewsOf', () => {
  it('tells once per lease whose clean-up fails and where, in the order of lease ids', () => {
    const where = { organization: 'acme', integration: 'orders-db', orchestration: 'ci' };
    expect(cleanUpNewsOf([failed(b), failed(a), failed(b)])).toEqual({
      failing: [
        { leaseId: a, ...where },
        { leaseId: b, ...where },
      ],
      cleanedUp: [],
    });
  });

  it('takes what is done for done, whichever of the two events comes first', () => {
    const done = { failing: [], cleanedUp: [a] };
    expect(cleanUpNewsOf([failed(a), cleanedUp(a)])).toEqual(done);
    expect(cleanUpNewsOf([cleanedUp(a), failed(a)])).toEqual(done);
  });

  it('takes nothing else for news, and holds nothing against who is no agent', () => {
    const events = [
      newEvent('revocation', 'credential.expired', { lease_id: a, cleanup: 'pending', ...place }),
      newEvent('revocation', 'credential.revocation_failed', { lease_id: a, ...place }),
      failed(b, { agent_id: 'spiffe://acme.example/person/ada' }),
    ];
    expect(cleanUpNewsOf(events)).toEqual({ failing: [], cleanedUp: [] });
  });
});
