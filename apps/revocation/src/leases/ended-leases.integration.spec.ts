import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import type { Register } from '../register.ts';
import { openWorld, type World } from '../register-fixtures.ts';

describe('which of the leases that policy counts have ended', () => {
  let world: World;
  let register: Register;

  beforeAll(async () => {
    world = await openWorld();
    // Not started: what is due stays as it is.
    register = world.replica({ MAYFLY_END_ANSWER_MS: '50' });
  });
  afterAll(() => world.close());

  const ended = async (...lease_ids: string[]) => (await register.leases.ended({ lease_ids })).ended;
  const giveBack = async (lease_id: string) =>
    register.ends.endLease(await world.assert({ action: 'end_lease', lease_id, reason: 'given back' }));

  it('are those whose end has committed, and what is not known any more', async () => {
    const [live, over, unknown] = [await world.issue(register), await world.issue(register), uuidv7()];
    await giveBack(over);
    expect(await world.row(over)).toMatchObject({ state: 'revoked' });
    expect((await ended(live, over, unknown)).sort()).toEqual([over, unknown].sort());
  });

  it('I10: are none of those that cannot be ended, whatever their time', async () => {
    const stuck = await world.issue(register);
    world.bus.onRevoke = () => Promise.reject(new Error('the upstream is away'));
    await giveBack(stuck);
    for (const state of ['revoking', 'revocation_failed']) {
      await world.database.pool.query(
        `UPDATE revocation.leases SET state = $2, issued_at = issued_at - interval '1 day', expires_at = expires_at - interval '1 day'
         WHERE lease_id = $1`,
        [stuck, state],
      );
      expect(await ended(stuck)).toEqual([]);
    }
  });
});
