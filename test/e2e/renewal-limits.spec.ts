/** Limits hold for credentials that rotate: what a lease and its successor may be used for together is one place, not two. */
import { describe, expect, it } from '@jest/globals';
import { Refused, waitUntil } from '@mayfly/stack';
import { openSession, wholeStack } from '@mayfly/testing';

const stack = wholeStack();
// One lease per session and one at a time, with the longest grace there is.
const credential = 'reports-api/lingering';
const within = { deadlineMs: 40_000 };
/** Of the first leases, in seconds: longer than it takes to ask for many, because what they gave counts until it stops working. */
const shortTtl = 20;

type Agent = Awaited<ReturnType<typeof openSession>>;

/** What came of an attempt: a lease, or a refusal. */
const attempt = <T>(made: Promise<T>): Promise<T | Refused> =>
  made.catch((error: unknown) => {
    if (error instanceof Refused) return error;
    throw error;
  });

/** The one lease there may be, once whatever had its place before has ended and works no more. */
async function leaseWhenFree(agent: Agent): Promise<string> {
  let lease_id: string | undefined;
  await waitUntil(
    'the place to be free',
    async () => {
      const lease = await attempt(agent.lease(credential, { ttl_seconds: 300 }));
      if (!(lease instanceof Refused)) lease_id = lease.lease_id;
      return lease_id !== undefined;
    },
    within,
  );
  return lease_id ?? '';
}

async function giveAllBack(agent: Agent): Promise<void> {
  for (const { lease_id } of await agent.leases()) await agent.giveBack(lease_id);
}

describe('with one lease per session and one at a time', () => {
  it('a loop of mint, renew and give back of the successor holds one token, not as many as fit into the grace', async () => {
    const agent = await openSession(stack);
    const refusals = new Set<string>();
    let minted = 0;
    let most = 0;
    for (let round = 0; round < 15; round++) {
      const lease = await attempt(agent.lease(credential, { ttl_seconds: shortTtl }));
      if (lease instanceof Refused) refusals.add(lease.problem.code);
      else {
        minted++;
        const successor = await agent.renew(lease.lease_id, { ttl_seconds: shortTtl });
        await agent.giveBack(successor.lease_id);
      }
      most = Math.max(most, (await agent.leases()).length);
    }
    expect({ minted, most, refusals: [...refusals] }).toEqual({
      minted: 1,
      most: 1,
      refusals: ['limit_exceeded'],
    });
    await giveAllBack(agent);
  }, 60_000);

  it('twelve renewals in a row hold two tokens at most, and the refusal says when to renew again', async () => {
    const agent = await openSession(stack);
    // And what has ended and stopped working takes no place.
    let last = await leaseWhenFree(agent);
    const reasons = new Set<string>();
    for (let round = 0; round < 12; round++) {
      const successor = await attempt(agent.renew(last));
      if (successor instanceof Refused) reasons.add(`${successor.problem.code}: ${successor.problem.detail}`);
      else last = successor.lease_id;
    }
    expect(await agent.leases()).toHaveLength(2);
    expect([...reasons].join()).toMatch(
      /^conflict: The lease that this one took the place of is still alive. Renew again in (?:at most )?\d+ seconds, when it has ended, or give that one back first\./,
    );
    // As it says: the chain goes on as soon as the first has been given back.
    const [first] = (await agent.leases()).filter(({ lease_id }) => lease_id !== last);
    await agent.giveBack(first?.lease_id ?? '');
    await waitUntil(
      'the next renewal',
      async () => {
        const successor = await attempt(agent.renew(last));
        return !(successor instanceof Refused);
      },
      within,
    );
    expect(await agent.leases()).toHaveLength(2);
    await giveAllBack(agent);
  }, 90_000);
});
