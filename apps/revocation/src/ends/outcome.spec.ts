import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import { endOutcome } from './outcome.ts';
import { mayBeUnderWay } from './asked-ends.ts';

const at = new Date('2026-01-02T03:04:05.000Z');
const native = new Date('2026-01-02T04:00:00.000Z');
const lease = { leaseId: 'l', nativeExpiresAt: native };

describe('what an end means', () => {
  it('is told by what the upstream can do', () => {
    expect(endOutcome({ ...lease, revocability: { kind: 'immediate' } }, at).outcome).toBe('revoked');
    expect(endOutcome({ ...lease, revocability: { kind: 'immediate' } }, undefined).outcome).toBe('ending');
    expect(endOutcome({ ...lease, revocability: { kind: 'eventual', within_seconds: 55 } }, at)).toEqual({
      lease_id: 'l',
      outcome: 'eventual',
      by: '2026-01-02T03:05:00.000Z',
    });
    expect(endOutcome({ ...lease, revocability: { kind: 'expiry_only' } }, at)).toEqual({
      lease_id: 'l',
      outcome: 'expiry_only',
      by: native.toISOString(),
    });
  });
});

describe('a lease that is not known', () => {
  it('may be under way only if its id was made just now', () => {
    expect(mayBeUnderWay(uuidv7(), Date.now())).toBe(true);
    expect(mayBeUnderWay(uuidv7({ msecs: Date.now() - 600_000 }), Date.now())).toBe(false);
    expect(mayBeUnderWay(randomUUID(), Date.now())).toBe(false);
  });
});
