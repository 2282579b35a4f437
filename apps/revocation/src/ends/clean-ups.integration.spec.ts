/** What an ended lease left upstream: it keeps nobody, and is removed in the end. */
import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { agentId, grantClaims, openWorld, traceparent, until, type World } from '../register-fixtures.ts';
import { registerSize } from '../store/reading.ts';

const quick = {
  MAYFLY_DUE_POLL_MS: '100',
  MAYFLY_RETRY_FIRST_MS: '10',
  MAYFLY_RETRY_LONGEST_MS: '40',
  MAYFLY_CLAIM_MS: '5000',
  MAYFLY_BREAKER_FAILURES: '2',
  MAYFLY_BREAKER_OPEN_MS: '3600000',
};
const refused = () => Promise.reject(new MayflyError('provider_rejected', 'something is in the way'));

describe('clean-ups after ends', () => {
  let world: World;
  beforeEach(async () => {
    world = await openWorld();
  });
  afterEach(() => world.close());

  const makeDue = () =>
    world.database.pool.query(
      `UPDATE revocation.leases SET expires_at = now(), due_at = now() WHERE state = 'active'`,
    );

  it('are pending while the lease has ended already, and are told when they are done', async () => {
    const register = world.replica(quick);
    let isInTheWay = true;
    world.bus.onRevoke = () => Promise.resolve('access_ended');
    world.bus.onCleanUp = () => (isInTheWay ? refused() : Promise.resolve());
    const leaseId = await world.issue(register);
    await makeDue();
    register.start();
    await until(() => world.bus.cleanedUp.length > 3);
    const row = await world.row(leaseId);
    expect(row).toMatchObject({ state: 'expired', cleanup: 'pending', end_cause: 'expired' });
    expect(row?.['access_ended_at']).toEqual(row?.['ended_at']);
    expect(row?.['handle']).not.toBeNull();
    expect(await registerSize(world.database.pool)).toMatchObject({
      pendingCleanUps: 1,
      failing: { end: 0, cleanup: 1 },
      dueLagSeconds: 0,
    });
    isInTheWay = false;
    await until(async () => (await world.row(leaseId))?.['cleanup'] === 'done');
    expect(await world.row(leaseId)).toMatchObject({ state: 'expired', handle: null, due_at: null });
    expect(await world.eventsOf(leaseId)).toEqual([
      'credential.issued',
      'credential.expired',
      'credential.cleanup_failed',
      'credential.cleaned_up',
    ]);
    expect(world.bus.revoked).toEqual([leaseId]);
  });

  it('are told to fail once, when they are refused, and not while upstream or minting is away', async () => {
    const register = world.replica({ ...quick, MAYFLY_BREAKER_FAILURES: '1000' });
    world.bus.onRevoke = () => Promise.resolve('access_ended');
    let answer: 'provider_unavailable' | 'dependency_unavailable' | 'provider_rejected' =
      'provider_unavailable';
    world.bus.onCleanUp = () => Promise.reject(new MayflyError(answer, 'not now'));
    const leaseId = await world.issue(register);
    await makeDue();
    register.start();
    const attempts = async (code: typeof answer) => {
      answer = code;
      const before = world.bus.cleanedUp.length;
      await until(() => world.bus.cleanedUp.length > before + 3);
    };
    const failures = async () =>
      (await world.outbox()).filter(({ type }) => type === 'dev.mayfly.credential.cleanup_failed.v1');
    await attempts('provider_unavailable');
    await attempts('dependency_unavailable');
    expect(await failures()).toEqual([]);
    await attempts('provider_rejected');
    // Neither another kind of failure in between nor the next refusal makes it another one.
    await attempts('provider_unavailable');
    await attempts('provider_rejected');
    const [failure, ...more] = await failures();
    expect(more).toEqual([]);
    expect(failure).toMatchObject({
      subject: leaseId,
      data: {
        lease_id: leaseId,
        organization: 'acme',
        integration: 'orders-db',
        agent_id: agentId('one'),
        reason: 'provider_rejected',
        outcome: 'cleanup_failed',
        cleanup: 'pending',
      },
    });
    expect((await world.row(leaseId))?.['cleanup_failed_at']).not.toBeNull();
  });

  it('of what a mint without activation left are not told to fail: nobody held it', async () => {
    const register = world.replica(quick);
    const claims = grantClaims();
    world.bus.reconcileOutcome = 'access_ended';
    world.bus.onCleanUp = refused;
    await register.activations.abandon({
      grant: await world.sign(claims),
      issuance_traceparent: traceparent(),
      reason: 'provider_unavailable',
      cleanup: 'pending',
      mint_id: randomUUID(),
    });
    register.start();
    await until(() => world.bus.cleanedUp.length > 3);
    expect(await world.eventsOf(claims.jti)).toEqual(['credential.failed']);
    expect(await register.leases.pendingCleanUps({ lease_ids: [claims.jti] })).toEqual({
      pending: [claims.jti],
    });
  });

  it('are pending for policy until they are done', async () => {
    const register = world.replica(quick);
    let isInTheWay = true;
    world.bus.onRevoke = () => Promise.resolve('access_ended');
    world.bus.onCleanUp = () => (isInTheWay ? refused() : Promise.resolve());
    const [left, unknown] = [await world.issue(register), randomUUID()];
    const pending = async () =>
      (await register.leases.pendingCleanUps({ lease_ids: [left, unknown] })).pending;
    expect(await pending()).toEqual([]);
    await makeDue();
    register.start();
    await until(() => world.bus.cleanedUp.length > 1);
    expect(await pending()).toEqual([left]);
    isInTheWay = false;
    await until(async () => (await world.row(left))?.['cleanup'] === 'done');
    expect(await pending()).toEqual([]);
  });

  it('that fail open no breaker and take no place of an end', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_CLEANUP_CONCURRENCY_PER_INTEGRATION: '1',
      MAYFLY_END_CONCURRENCY: '1',
      MAYFLY_END_CONCURRENCY_PER_INTEGRATION: '1',
    });
    const hostile = new Set<string>();
    world.bus.onRevoke = ({ lease_id }) =>
      Promise.resolve(hostile.has(lease_id) ? 'access_ended' : 'revoked');
    // The one that is being cleaned up takes for ever.
    let stop: () => void = () => undefined;
    world.bus.onCleanUp = () => new Promise((resolve) => (stop = resolve));
    for (let index = 0; index < 20; index++) hostile.add(await world.issue(register));
    await makeDue();
    register.start();
    await until(() => world.bus.cleanedUp.length === 1);
    const honest = await world.issue(register);
    await makeDue();
    register.due.nudge();
    await until(async () => (await world.row(honest))?.['state'] === 'expired');
    expect(world.bus.cleanedUp).toHaveLength(1);
    expect(register.upstreams.open).toBe(0);
    world.bus.onCleanUp = () => Promise.resolve();
    stop();
  });

  it('wait while their upstream is left alone, and ends do not', async () => {
    const register = world.replica({ ...quick, MAYFLY_BREAKER_FAILURES: '1' });
    world.bus.onRevoke = () => Promise.resolve('access_ended');
    world.bus.onCleanUp = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
    await world.issue(register);
    await makeDue();
    register.start();
    await until(() => world.bus.cleanedUp.length > 3);
    // A clean-up opens no breaker, however it fails.
    expect(register.upstreams.open).toBe(0);
    world.bus.onRevoke = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
    const second = await world.issue(register);
    await makeDue();
    register.due.nudge();
    const tried = () => world.bus.revoked.filter((id) => id === second).length;
    await until(() => tried() > 2 && register.upstreams.open === 1);
    const before = { cleanUps: world.bus.cleanedUp.length, ends: tried() };
    await until(() => tried() > before.ends + 3);
    expect(world.bus.cleanedUp).toHaveLength(before.cleanUps);
  });

  it('of what a mint without activation left go on by the handle that minting then gives', async () => {
    const register = world.replica(quick);
    const claims = grantClaims();
    world.bus.reconcileOutcome = 'access_ended';
    await register.activations.abandon({
      grant: await world.sign(claims),
      issuance_traceparent: traceparent(),
      reason: 'provider_unavailable',
      cleanup: 'pending',
      mint_id: randomUUID(),
    });
    register.start();
    await until(async () => (await world.row(claims.jti))?.['cleanup'] === 'done');
    expect(world.bus.reconciled).toEqual([claims.jti]);
    expect(world.bus.cleanedUp).toEqual([claims.jti]);
    expect(await world.eventsOf(claims.jti)).toEqual(['credential.failed']);
  });

  it('find out with another lease each time whether an upstream is back', async () => {
    const register = world.replica({
      ...quick,
      MAYFLY_RETRY_FIRST_MS: '3600000',
      MAYFLY_RETRY_LONGEST_MS: '3600000',
      MAYFLY_BREAKER_FAILURES: '1',
      MAYFLY_BREAKER_OPEN_MS: '50',
    });
    world.bus.onRevoke = () => Promise.reject(new MayflyError('provider_unavailable', 'away'));
    const leaseIds: string[] = [];
    for (let index = 0; index < 4; index++) leaseIds.push(await world.issue(register));
    await makeDue();
    register.start();
    await until(() => world.bus.revoked.length >= 12);
    // Each was tried once when it was due; from then on they take turns.
    const tries = leaseIds.map(
      (leaseId) => world.bus.revoked.slice(4, 12).filter((id) => id === leaseId).length,
    );
    expect(Math.max(...tries) - Math.min(...tries)).toBeLessThanOrEqual(1);
  });
});
