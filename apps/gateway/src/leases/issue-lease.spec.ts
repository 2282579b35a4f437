import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { bus, MayflyError, type BusOperation, type ErrorCode } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import type { Logger } from '@mayfly/telemetry';
import { generateSealingKeyPair } from '@mayfly/tokens';
import type { Admission } from '../admission/admission.ts';
import type { PolicyGate } from '../policy-gate.ts';
import { IssueLease } from './issue-lease.ts';

describe('a mint that came to nothing, or nobody knows to what', () => {
  let called: string[];
  let release: () => Promise<unknown>;
  let end: () => Promise<unknown>;
  let minting: Admission['minting'];

  beforeEach(() => {
    jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    called = [];
    release = () => Promise.resolve({ outcome: 'begun' });
    end = () => Promise.resolve({});
    minting = (_, mint) => mint();
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  /** Has minting answer with an error, and what was done then. */
  const after = async (code: ErrorCode): Promise<string[]> => {
    const call = ({ name }: BusOperation) => {
      called.push(name);
      if (name === bus.minting.issue.name) return Promise.reject(new MayflyError(code, 'no'));
      return name === bus.policy.releaseReservation.name ? release() : end();
    };
    const issueLease = new IssueLease({} as PolicyGate, { call } as unknown as BusClient, { minting }, {
      warn: () => undefined,
    } as unknown as Logger);
    const allowed = {
      lease_id: crypto.randomUUID(),
      grant: 'grant',
      recipient: 'one_time',
      give_back: 'assertion',
    };
    await expect(
      issueLease.mint(
        { token: 'session token' },
        allowed as Parameters<IssueLease['mint']>[1],
        await generateSealingKeyPair(),
        () => false,
      ),
    ).rejects.toMatchObject({ code });
    // What is not waited for has been done when nothing is left to be done.
    await new Promise((resolve) => setImmediate(resolve));
    return called.slice(1);
  };

  it('ends the lease where it has begun, because no answer is not a no', async () => {
    expect(await after('dependency_unavailable')).toEqual([
      'policy.release-reservation',
      'revocation.end-lease',
    ]);
  });

  it('asks for nothing more where it can never begin', async () => {
    release = () => Promise.resolve({ outcome: 'released' });
    expect(await after('dependency_unavailable')).toEqual(['policy.release-reservation']);
  });

  it('ends the lease all the same when policy does not say', async () => {
    release = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    expect(await after('dependency_unavailable')).toEqual([
      'policy.release-reservation',
      'revocation.end-lease',
    ]);
  });

  it('ends the lease as soon as somebody can', async () => {
    end = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    expect(await after('dependency_unavailable')).toHaveLength(2);
    await jest.advanceTimersByTimeAsync(4_000);
    expect(called.slice(3)).toEqual(Array(2).fill('revocation.end-lease'));
    end = () => Promise.reject(new MayflyError('not_found', 'never registered'));
    await jest.advanceTimersByTimeAsync(60_000);
    expect(called.slice(3)).toEqual(Array(3).fill('revocation.end-lease'));
  });

  it('leaves the end to a mint that says what became of it', async () => {
    expect(await after('provider_unavailable')).toEqual(['policy.release-reservation']);
    called = [];
    expect(await after('lease_ended')).toEqual([]);
  });

  it('gives its place back where too many mints of the organization are under way', async () => {
    minting = () => Promise.reject(new MayflyError('rate_limited', 'too many'));
    const call = after('rate_limited');
    expect(await call).toEqual([]);
    expect(called).toEqual(['policy.release-reservation']);
  });

  it('gives its place back as soon as somebody can', async () => {
    release = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    await after('provider_unavailable');
    await jest.advanceTimersByTimeAsync(1_000);
    expect(called.slice(1)).toEqual(Array(2).fill('policy.release-reservation'));
    release = () => Promise.resolve({ outcome: 'released' });
    await jest.advanceTimersByTimeAsync(60_000);
    expect(called.slice(1)).toEqual(Array(3).fill('policy.release-reservation'));
  });
});
