import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { withMark } from '@mayfly/domain';
import { MayflyError } from '@mayfly/contracts';
import { v7 as uuidv7 } from 'uuid';
import { openWorld, until, type World } from '../register-fixtures.ts';
import type { Register } from '../register.ts';
import { claimSweep } from '../store/sweep.ts';

describe('a comparison with what is there upstream', () => {
  let world: World;
  let register: Register;
  beforeEach(async () => {
    world = await openWorld();
    register = world.replica({ MAYFLY_SWEEP_GRACE_MS: '60000', MAYFLY_DUE_POLL_MS: '50' });
  });
  afterEach(() => world.close());

  const marked = (ageMs = 0) => withMark(uuidv7({ msecs: Date.now() - ageMs }), world.bus.mark);
  const old = 3_600_000;
  /** A lease that lives, and what it stands for. */
  const live = async (ageMs = old) => {
    const leaseId = await world.issue(register, { jti: marked(ageMs) });
    world.bus.upstream.add(leaseId);
    return leaseId;
  };
  /** As if all of it had happened an hour ago. */
  const age = () =>
    world.database.pool.query(
      `UPDATE revocation.leases SET issued_at = issued_at - interval '1 hour', ended_at = ended_at - interval '1 hour'`,
    );

  it('removes and tells what no lease is known for, and leaves what lives and what is being made', async () => {
    const living = [await live(), await live(), await live()];
    const making = marked();
    const strays = [marked(old), marked(old)];
    for (const leaseId of [making, ...strays]) world.bus.upstream.add(leaseId);
    await register.sweeper.sweep();
    expect([...world.bus.upstream].sort()).toEqual([...living, making].sort());
    expect([...world.bus.reconciled].sort()).toEqual([...strays].sort());
    for (const leaseId of strays) {
      const [event] = (await world.outbox()).filter(({ subject }) => subject === leaseId);
      expect(event).toMatchObject({
        type: 'dev.mayfly.credential.orphaned.v1',
        data: {
          organization: 'acme',
          integration: 'orders-db',
          reason: 'unknown_upstream',
          outcome: 'removed',
        },
      });
    }
    for (const leaseId of living) expect(await world.row(leaseId)).toMatchObject({ state: 'active' });
  });

  it('removes what is still there long after the end of its lease', async () => {
    const leaseId = await live();
    await register.revocations.revoke(
      await world.assert(
        { action: 'revoke', subject: { kind: 'lease', id: leaseId }, reason: 'x' },
        { administrator: true },
      ),
    );
    register.start();
    await until(async () => (await world.row(leaseId))?.['state'] === 'revoked');
    await register.sweeper.sweep();
    expect(world.bus.upstream.has(leaseId)).toBe(true);
    await age();
    await register.sweeper.sweep();
    expect(world.bus.upstream.has(leaseId)).toBe(false);
    expect((await world.eventsOf(leaseId)).at(-1)).toBe('credential.orphaned');
  });

  it('ends a lease whose thing has gone, and no other', async () => {
    const [gone, there] = [await live(), await live()];
    const unmarked = await world.issue(register);
    world.bus.upstream.delete(gone);
    await age();
    register.start();
    await register.sweeper.sweep();
    await until(async () => (await world.row(gone))?.['state'] === 'revoked');
    expect(await world.row(gone)).toMatchObject({ end_reason: 'vanished_upstream' });
    expect(await world.row(there)).toMatchObject({ state: 'active' });
    expect(await world.row(unmarked)).toMatchObject({ state: 'active' });
  });

  it('ends all of those, although one can not be inspected, and that one the next time', async () => {
    const leaseIds: string[] = [];
    // Two pages of what is there, with something gone in each.
    for (let index = 0; index < 6; index++) leaseIds.push(await live(old - index * 1_000));
    const [stuck = '', , second = '', , last = ''] = leaseIds;
    for (const leaseId of [stuck, second, last]) world.bus.upstream.delete(leaseId);
    await age();
    world.bus.onInspect = (leaseId) =>
      leaseId === stuck ? Promise.reject(new MayflyError('provider_rejected', 'no')) : Promise.resolve();
    const states = () => Promise.all(leaseIds.map(async (leaseId) => (await world.row(leaseId))?.['state']));
    await register.sweeper.sweep();
    expect(await states()).toEqual(['active', 'active', 'revoking', 'active', 'revoking', 'active']);
    world.bus.onInspect = () => Promise.resolve();
    await register.sweeper.sweep();
    expect(await states()).toEqual(['revoking', 'active', 'revoking', 'active', 'revoking', 'active']);
  });

  it('inspects no more of an upstream that can not be reached than it takes to see that', async () => {
    for (let index = 0; index < 12; index++) await live();
    world.bus.upstream.clear();
    await age();
    let inspected = 0;
    world.bus.onInspect = () => {
      inspected++;
      return Promise.reject(new MayflyError('provider_unavailable', 'away'));
    };
    await register.sweeper.sweep();
    expect(inspected).toBe(5);
  });

  it('ends more than it reads at once when all of them have gone', async () => {
    const leaseId = await live();
    const count = 2_005;
    await world.database.pool.query(
      `INSERT INTO revocation.leases
       SELECT (jsonb_populate_record(l, jsonb_build_object('lease_id', other))).*
       FROM revocation.leases l, unnest($2::uuid[]) AS other WHERE l.lease_id = $1`,
      [leaseId, Array.from({ length: count - 1 }, () => marked(old))],
    );
    world.bus.upstream.clear();
    await age();
    await register.sweeper.sweep();
    const { rowCount } = await world.database.pool.query(
      `SELECT FROM revocation.leases WHERE state = 'revoking' AND end_reason = 'vanished_upstream'`,
    );
    expect(rowCount).toBe(count);
  });

  it('finds what it could not remove again the next time', async () => {
    const stray = marked(old);
    world.bus.upstream.add(stray);
    world.bus.onReconcile = () => Promise.reject(new MayflyError('provider_rejected', 'no'));
    await register.sweeper.sweep();
    expect(await world.eventsOf(stray)).toEqual([]);
    world.bus.onReconcile = () => Promise.resolve();
    await register.sweeper.sweep();
    expect(await world.eventsOf(stray)).toEqual(['credential.orphaned']);
  });

  it('is made by one replica at a time', async () => {
    const claims = await Promise.all([1, 2, 3].map(() => claimSweep(world.database.pool, 60_000)));
    expect(claims.filter(Boolean)).toHaveLength(1);
  });
});
