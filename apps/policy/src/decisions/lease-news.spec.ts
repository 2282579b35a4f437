import { describe, expect, it } from '@jest/globals';
import { newEvent } from '@mayfly/messaging';
import { leaseNewsOf } from './lease-news.ts';

const a = '018f0000-0000-7000-8000-00000000000a';
const b = '018f0000-0000-7000-8000-00000000000b';
const event = (type: Parameters<typeof newEvent>[1], leaseId?: string) =>
  newEvent('revocation', type, leaseId === undefined ? {} : { lease_id: leaseId });

describe('leaseNewsOf', () => {
  it('tells once per lease what a batch says, in the order of lease ids', () => {
    const events = [
      event('credential.expired', b),
      event('credential.issued', a),
      event('credential.issued', b),
      event('credential.issued', b),
    ];
    expect(leaseNewsOf(events)).toEqual([
      { leaseId: a, issued: true, ended: false },
      { leaseId: b, issued: true, ended: true },
    ]);
  });

  it.each(['credential.failed', 'credential.orphaned', 'credential.expired', 'credential.revoked'] as const)(
    'takes %s for an end',
    (type) => {
      expect(leaseNewsOf([event(type, a)])).toEqual([{ leaseId: a, issued: false, ended: true }]);
    },
  );

  it('takes the most renewals that are told, and a renewal for a lease that was issued', () => {
    const renewed = (renewals: number) =>
      newEvent('revocation', 'credential.renewed', { lease_id: a, renewals });
    expect(leaseNewsOf([renewed(2), renewed(1)])).toEqual([
      { leaseId: a, issued: true, ended: false, renewals: 2 },
    ]);
  });

  it('takes from a rotation when the old lease ends, and no number of renewals', () => {
    const expires_at = '2026-12-01T10:00:00.000Z';
    const rotated = newEvent('revocation', 'credential.renewed', {
      lease_id: a,
      successor_id: b,
      renewals: 3,
      expires_at,
    });
    expect(leaseNewsOf([rotated, event('credential.issued', a)])).toEqual([
      { leaseId: a, issued: true, ended: false, endsAt: expires_at },
    ]);
  });

  it('takes neither an intent nor a failed revocation for news: such a lease still counts (I10)', () => {
    const events = [
      event('credential.intended', a),
      event('credential.revocation_failed', a),
      event('credential.issued'),
    ];
    expect(leaseNewsOf(events)).toEqual([]);
  });
});
