import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError, type bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { newEvent, type BusClient } from '@mayfly/messaging';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Decide } from './decide.ts';
import { LeaseRegister } from './lease-register.ts';
import { LostEnds } from './lost-ends.ts';

type Asked = InputOf<typeof bus.revocation.endedLeases>;

describe('a place within the limits whose lease must be over', () => {
  let policy: RunningPolicy;
  /** The register, as policy reaches it, and what it was asked. */
  let register: (asked: Asked) => Promise<OutputOf<typeof bus.revocation.endedLeases>>;
  const asked: string[] = [];

  beforeAll(async () => {
    const client = {
      call: (_operation: unknown, input: Asked) => {
        asked.push(...input.lease_ids);
        return register(input);
      },
    } as unknown as BusClient;
    policy = await runPolicy(twoOrganizations, { client });
  });
  afterAll(() => policy.stop());
  beforeEach(async () => {
    asked.splice(0);
    register = ({ lease_ids }) => Promise.resolve({ ended: lease_ids });
    await policy.database.pool.query(
      'UPDATE policy.reservations SET ended_at = now() WHERE ended_at IS NULL',
    );
  });

  /** A lease that was issued, and of whose end nothing was heard. */
  const issued = async () => {
    const { token, sessionId } = await policy.open(analyst);
    const answer = await policy
      .get(Decide)
      .run({ token, credential: 'tool/limited', reply_key: policy.replyKey.publicJwk, source_ip: sourceIp });
    if (answer.decision !== 'allow') throw new Error(JSON.stringify(answer));
    const { lease_id } = answer;
    await policy.get(LeaseRegister).record([newEvent('revocation', 'credential.issued', { lease_id })]);
    return { leaseId: lease_id, sessionId };
  };
  /** As if the session had ended so many seconds ago. */
  const endedAgo = (sessionId: string, seconds: number) =>
    policy.database.pool.query(
      `UPDATE policy.sessions SET opened_at = opened_at - interval '1 hour', expires_at = now() - make_interval(secs => $2)
       WHERE id = $1`,
      [sessionId, seconds],
    );
  const counts = async (leaseId: string) => {
    const { rowCount } = await policy.database.pool.query(
      'SELECT FROM policy.reservations WHERE lease_id = $1 AND ended_at IS NULL AND held_until IS NULL',
      [leaseId],
    );
    return rowCount === 1;
  };
  const later = () =>
    policy.database.pool.query(
      `UPDATE policy.reservations SET asked_about_at = asked_about_at - interval '10 minutes'`,
    );

  it('is free once the register says that the lease has ended, and nothing else is asked about', async () => {
    const [over, gone, live] = [await issued(), await issued(), await issued()];
    await endedAgo(over.sessionId, 121);
    // Not known any more, and granted longer ago than any session lasts.
    await policy.database.pool.query('DELETE FROM policy.sessions WHERE id = $1', [gone.sessionId]);
    await policy.database.pool.query(
      `UPDATE policy.reservations SET reserved_at = now() - interval '63 minutes' WHERE lease_id = $1`,
      [gone.leaseId],
    );
    await endedAgo(live.sessionId, 30);
    expect(await policy.get(LostEnds).find()).toBe(false);
    expect(asked.sort()).toEqual([over.leaseId, gone.leaseId].sort());
    expect(await Promise.all([over, gone, live].map(({ leaseId }) => counts(leaseId)))).toEqual([
      false,
      false,
      true,
    ]);
  });

  it('I10: is kept while the lease cannot be ended, and while the register does not answer', async () => {
    const stuck = await issued();
    await endedAgo(stuck.sessionId, 3_000);
    register = () => Promise.resolve({ ended: [] });
    await policy.get(LostEnds).find();
    expect(await counts(stuck.leaseId)).toBe(true);
    await later();
    register = () => Promise.reject(new MayflyError('dependency_unavailable', 'away'));
    await expect(policy.get(LostEnds).find()).rejects.toMatchObject({ code: 'dependency_unavailable' });
    expect(await counts(stuck.leaseId)).toBe(true);
    expect(asked).toEqual([stuck.leaseId, stuck.leaseId]);
  });

  it('is free as soon when the lease had a successor: its end is known, and holds up the next renewal', async () => {
    const [over, inGrace] = [await issued(), await issued()];
    const rotated = ({ leaseId }: { leaseId: string }, endedMsAgo: number) =>
      policy.get(LeaseRegister).record([
        newEvent('revocation', 'credential.renewed', {
          lease_id: leaseId,
          successor_id: '018f0000-0000-7000-8000-00000000000a',
          expires_at: new Date(Date.now() - endedMsAgo).toISOString(),
        }),
      ]);
    await rotated(over, 121_000);
    await rotated(inGrace, 30_000);
    await policy.get(LostEnds).find();
    expect(asked).toEqual([over.leaseId]);
    expect(await Promise.all([over, inGrace].map(({ leaseId }) => counts(leaseId)))).toEqual([false, true]);
  });

  it('is asked about by one replica at a time, and again only after a while', async () => {
    const stuck = await issued();
    await endedAgo(stuck.sessionId, 3_000);
    register = () => Promise.resolve({ ended: [] });
    await Promise.all(Array.from({ length: 4 }, () => policy.get(LostEnds).find()));
    expect(asked).toEqual([stuck.leaseId]);
    await later();
    await policy.get(LostEnds).find();
    expect(asked).toHaveLength(2);
  });

  it('is not freed by an answer about what was not asked', async () => {
    const [stuck, live] = [await issued(), await issued()];
    await endedAgo(stuck.sessionId, 3_000);
    register = () => Promise.resolve({ ended: [live.leaseId] });
    await policy.get(LostEnds).find();
    expect(await counts(live.leaseId)).toBe(true);
  });
});
