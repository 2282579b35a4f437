import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { newEvent } from '@mayfly/messaging';
import type { Register } from '../register.ts';
import {
  grantClaims,
  handle,
  openWorld,
  organization,
  traceparent,
  until,
  type World,
} from '../register-fixtures.ts';

describe('a mint that comes to its end after its clean-up', () => {
  let world: World;
  let register: Register;

  beforeAll(async () => {
    world = await openWorld();
    register = world.replica({ MAYFLY_DUE_POLL_MS: '50', MAYFLY_ORPHAN_AFTER_MS: '1' });
    register.start();
  });
  afterAll(() => world.close());

  const abandon = (grant: string, cleanup: 'done' | 'pending', more: { handle?: string } = {}) =>
    register.activations.abandon({
      grant,
      issuance_traceparent: traceparent(),
      reason: 'provider_unavailable',
      cleanup,
      mint_id: randomUUID(),
      ...more,
    });
  const looks = (leaseId: string) => world.bus.reconciled.filter((id) => id === leaseId).length;
  const isClean = (leaseId: string) => async () => (await world.row(leaseId))?.['cleanup'] === 'done';

  it('I6: has it looked for by its name once more when it was orphaned and does not know what it made', async () => {
    const claims = grantClaims();
    const event = newEvent(
      'minting',
      'credential.intended',
      {
        organization,
        lease_id: claims.jti,
        session_id: claims.actor.session_id,
        agent_id: claims.actor.agent_id,
        credential: claims.credential,
        provider: claims.provider,
        ttl_seconds: 60,
        config_version: 3,
      },
      { traceparent: traceparent() },
    );
    await register.intents.record([{ event, reject: (reason) => expect(reason).toBeUndefined() }]);
    await until(isClean(claims.jti));
    expect(await world.row(claims.jti)).toMatchObject({ state: 'orphaned' });
    expect(looks(claims.jti)).toBe(1);

    // The role is made now: the process was stopped before it had sent what makes it.
    world.bus.upstream.add(claims.jti);
    await abandon(await world.sign(claims), 'pending');
    await until(() => looks(claims.jti) === 2);
    await until(isClean(claims.jti));
    expect(world.bus.upstream.has(claims.jti)).toBe(false);
    expect(await world.row(claims.jti)).toMatchObject({ state: 'orphaned', handle: null, due_at: null });
    expect(await world.eventsOf(claims.jti)).toEqual(['credential.orphaned']);
  });

  it('I6: has it looked for once more when it had failed, by the handle where it has one', async () => {
    const claims = grantClaims();
    const grant = await world.sign(claims);
    await abandon(grant, 'pending');
    await until(isClean(claims.jti));
    await abandon(grant, 'pending');
    await until(() => looks(claims.jti) === 2);
    await until(isClean(claims.jti));
    await abandon(grant, 'pending', { handle });
    await until(() => world.bus.revoked.includes(claims.jti));
    await until(isClean(claims.jti));
    expect(looks(claims.jti)).toBe(2);
    expect(await world.eventsOf(claims.jti)).toEqual(['credential.failed']);
  });

  it('looks for nothing more when it says that nothing is left', async () => {
    const claims = grantClaims();
    const grant = await world.sign(claims);
    await abandon(grant, 'pending');
    await until(isClean(claims.jti));
    await abandon(grant, 'done');
    expect(await world.row(claims.jti)).toMatchObject({ state: 'failed', cleanup: 'done', due_at: null });
    expect(looks(claims.jti)).toBe(1);
  });
});
