import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError, type bus, type OutputOf } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Decide } from './decide.ts';
import { ReleaseReservation } from './release-reservation.ts';

describe('a place within the limits that a grant holds', () => {
  let policy: RunningPolicy;
  let cancelGrant: () => Promise<OutputOf<typeof bus.revocation.cancelGrant>>;

  beforeAll(async () => {
    const client = { call: () => cancelGrant() } as unknown as BusClient;
    policy = await runPolicy(twoOrganizations, { client });
  });
  afterAll(() => policy.stop());
  beforeEach(() => {
    cancelGrant = () => Promise.resolve({ outcome: 'cancelled' });
  });

  const ask = (token: string) =>
    policy
      .get(Decide)
      .run({ token, credential: 'tool/limited', reply_key: policy.replyKey.publicJwk, source_ip: sourceIp });

  /** A session that has asked for as much as it may, and the grant it got last. */
  const atTheLimit = async () => {
    const { token } = await policy.open(analyst);
    for (let grant = ''; ;) {
      const answer = await ask(token);
      if (answer.decision === 'allow') grant = answer.grant;
      else return { token, grant };
    }
  };

  it('is free once the register has made sure that the grant comes to nothing', async () => {
    const { token, grant } = await atTheLimit();
    expect(await policy.get(ReleaseReservation).run({ grant })).toEqual({ outcome: 'released' });
    expect((await ask(token)).decision).toBe('allow');
  });

  it('is kept while the mint is under way, or nobody can say', async () => {
    const { token, grant } = await atTheLimit();
    cancelGrant = () => Promise.resolve({ outcome: 'begun' });
    expect(await policy.get(ReleaseReservation).run({ grant })).toEqual({ outcome: 'begun' });
    expect((await ask(token)).decision).toBe('deny');
    cancelGrant = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    await expect(policy.get(ReleaseReservation).run({ grant })).rejects.toMatchObject({
      code: 'dependency_unavailable',
    });
    expect((await ask(token)).decision).toBe('deny');
  });

  it('is not given back by what policy did not sign', async () => {
    const { grant } = await atTheLimit();
    await expect(
      policy.get(ReleaseReservation).run({ grant: `${grant.slice(0, -8)}AAAAAAAA` }),
    ).rejects.toMatchObject({
      code: 'unauthenticated',
    });
  });
});
