import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError, type bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { newEvent, type BusClient } from '@mayfly/messaging';
import { v7 as uuidv7 } from 'uuid';
import { runPolicy, type RunningPolicy } from '../spec-support/running-policy.ts';
import { twoOrganizations } from '../spec-support/two-organizations.ts';
import { LeaseRegister } from './lease-register.ts';
import { LostCleanUps } from './lost-clean-ups.ts';

type Asked = InputOf<typeof bus.revocation.pendingCleanUps>;
type Told = OutputOf<typeof bus.revocation.pendingCleanUps>;

describe('a failing clean-up that no event tells to be done', () => {
  let policy: RunningPolicy;
  /** The register, as policy reaches it, and what it was asked. */
  let register: (asked: Asked) => Promise<Told>;
  const asked: string[] = [];

  beforeAll(async () => {
    const client = {
      call: (operation: { name: string }, input: Asked) => {
        if (operation.name !== 'revocation.pending-cleanups') throw new Error(operation.name);
        asked.push(...input.lease_ids);
        return register(input);
      },
    } as unknown as BusClient;
    policy = await runPolicy(twoOrganizations, { client });
  });
  afterAll(() => policy.stop());
  beforeEach(async () => {
    asked.splice(0);
    register = () => Promise.resolve({ pending: [] });
    await policy.database.pool.query('DELETE FROM policy.failing_cleanups');
  });

  const event = (type: 'credential.cleanup_failed' | 'credential.cleaned_up', lease_id: string) =>
    newEvent('revocation', type, {
      lease_id,
      organization: 'acme',
      integration: 'tool',
      agent_id: 'spiffe://acme.example/agent/ci/nightly/1',
    });
  /** One of which policy heard so many seconds ago that its clean-up fails. */
  const failing = async (secondsAgo: number) => {
    const leaseId = uuidv7();
    await policy.get(LeaseRegister).record([event('credential.cleanup_failed', leaseId)]);
    await policy.database.pool.query(
      'UPDATE policy.failing_cleanups SET since = since - make_interval(secs => $2) WHERE lease_id = $1',
      [leaseId, secondsAgo],
    );
    return leaseId;
  };
  const counted = async () => {
    const { rows } = await policy.database.pool.query<{ lease_id: string }>(
      'SELECT lease_id FROM policy.failing_cleanups ORDER BY lease_id',
    );
    return rows.map(({ lease_id }) => lease_id);
  };
  const later = () =>
    policy.database.pool.query(
      `UPDATE policy.failing_cleanups SET asked_about_at = asked_about_at - interval '10 minutes'`,
    );

  it('counts no longer once the register says that it is not pending; what is recent is not asked about', async () => {
    const [done, pending, recent] = [await failing(121), await failing(1_000), await failing(60)];
    register = () => Promise.resolve({ pending: [pending] });
    expect(await policy.get(LostCleanUps).find()).toBe(false);
    expect(asked.sort()).toEqual([done, pending].sort());
    expect(await counted()).toEqual([pending, recent].sort());
  });

  it('is found also where the events came in the wrong order', async () => {
    const leaseId = uuidv7();
    await policy.get(LeaseRegister).record([event('credential.cleaned_up', leaseId)]);
    await policy.get(LeaseRegister).record([event('credential.cleanup_failed', leaseId)]);
    expect(await counted()).toEqual([leaseId]);
    await policy.database.pool.query(
      `UPDATE policy.failing_cleanups SET since = since - interval '3 minutes'`,
    );
    await policy.get(LostCleanUps).find();
    expect(await counted()).toEqual([]);
  });

  it('I10: counts while the register does not answer', async () => {
    const leaseId = await failing(1_000);
    register = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    await expect(policy.get(LostCleanUps).find()).rejects.toMatchObject({ code: 'dependency_unavailable' });
    expect(await counted()).toEqual([leaseId]);
  });

  it('is asked about by one replica at a time, and again only after a while', async () => {
    const leaseId = await failing(1_000);
    register = () => Promise.resolve({ pending: [leaseId] });
    await Promise.all(Array.from({ length: 4 }, () => policy.get(LostCleanUps).find()));
    expect(asked).toEqual([leaseId]);
    await later();
    await policy.get(LostCleanUps).find();
    expect(asked).toEqual([leaseId, leaseId]);
  });
});
