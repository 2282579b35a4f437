/** Renewal by rotation on a real Postgres: one commit for both leases, and what it must not race with. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { v7 as uuidv7 } from 'uuid';
import type { Register } from '../register.ts';
import { factsOf } from '../activation/grant-facts.ts';
import { leaseEvent } from '../lease-event.ts';
import {
  activateInput,
  grantClaims,
  handle,
  openWorld,
  organization,
  traceparent,
  until,
  type World,
} from '../register-fixtures.ts';
import { activateLease } from '../store/activation.ts';

describe('a renewal by rotation', () => {
  let world: World;
  let register: Register;
  let session: string;

  beforeAll(async () => {
    world = await openWorld();
  });
  afterAll(() => world.close());
  beforeEach(() => {
    register = world.replica();
    session = randomUUID();
  });
  afterEach(() => register.stop());

  const renewal = { kind: 'rotation', max_life_seconds: 3600, max_count: 3, grace_seconds: 1 } as const;
  const base = (changes = {}) =>
    grantClaims({
      provider: 'jwt',
      credential: 'reports-api/read',
      renewal,
      ...changes,
      actor: { session_id: session },
    });
  const upstream = {
    revocability: { kind: 'expiry_only' },
    native_expires_at: new Date(Date.now() + 600_000).toISOString(),
  } as const;
  const issue = async () => {
    const claims = base();
    await register.activations.activate(activateInput(await world.sign(claims), upstream));
    return claims.jti;
  };
  const succeed = async (predecessor: string, changes = {}) => {
    const claims = base({ jti: uuidv7(), predecessor: { lease_id: predecessor, renewals: 1 }, ...changes });
    const activated = register.activations.activate(activateInput(await world.sign(claims), upstream));
    return activated.then(() => claims.jti);
  };

  it('links the two in one commit, and ends the old one after the grace, as rotated', async () => {
    const old = await issue();
    const before = (await world.row(old)) as { expires_at: Date; due_at: Date };
    const successor = await succeed(old);
    const row = (await world.row(old)) as { expires_at: Date; due_at: Date; last_renewed_at: Date };
    expect(row).toMatchObject({ state: 'active', successor_id: successor, renewals: 1 });
    expect(row.expires_at.getTime() - row.last_renewed_at.getTime()).toBe(1_000);
    expect(row.due_at).toEqual(row.expires_at);
    expect(row.expires_at.getTime()).toBeLessThan(before.expires_at.getTime());
    expect(await world.row(successor)).toMatchObject({ state: 'active', predecessor_id: old, renewals: 1 });
    const events = (await world.outbox()).filter(({ subject }) => subject === old || subject === successor);
    expect(
      events.map(({ type, data }) => [
        type.split('.')[3],
        data.lease_id,
        data.predecessor_id,
        data.successor_id,
      ]),
    ).toEqual([
      ['issued', old, undefined, undefined],
      ['issued', successor, old, undefined],
      ['renewed', old, undefined, successor],
    ]);
    expect(events[2]?.data.expires_at).toBe(row.expires_at.toISOString());
    // It can't be called back, so its upstream isn't asked, and its end can't fail: policy stops counting it for that reason.
    world.bus.onRevoke = () => Promise.reject(new Error('nobody is there'));
    register.start();
    await until(async () => (await world.row(old))?.['state'] === 'expired');
    expect(world.bus.revoked).toEqual([]);
    expect(await world.row(old)).toMatchObject({ end_reason: 'rotated' });
    expect((await world.row(successor))?.['state']).toBe('active');
    const ended = (await world.outbox()).find(
      ({ type, subject }) => type.includes('expired') && subject === old,
    );
    expect(ended?.data.reason).toBe('rotated');
  });

  it('lives no longer than what was minted for it, which is counted from the decision', async () => {
    const old = await issue();
    const decided = new Date(Date.now() - 5_000);
    const claims = base({ jti: uuidv7(), predecessor: { lease_id: old, renewals: 1 } });
    const native = new Date(decided.getTime() + claims.ttl_seconds * 1000).toISOString();
    const input = activateInput(await world.sign(claims, { now: decided }), {
      ...upstream,
      native_expires_at: native,
    });
    expect((await register.activations.activate(input)).expires_at).toBe(native);
  });

  it('activates nothing when the old lease has ended meanwhile', async () => {
    const old = await issue();
    const assertion = await world.assert(
      { action: 'end_lease', lease_id: old, reason: 'given back' },
      { sessionId: session },
    );
    await register.ends.endLease(assertion);
    const successor = uuidv7();
    await expect(succeed(old, { jti: successor })).rejects.toMatchObject({ code: 'lease_ended' });
    expect(await world.row(successor)).toBeUndefined();
    expect(await world.eventsOf(successor)).toEqual([]);
  });

  it('activates nothing when the old lease is fenced, though its end has not come to it yet', async () => {
    const old = await issue();
    const decided = new Date(Date.now() - 1_000);
    const fenced = () =>
      world.database.pool.query(
        `SELECT revocation.set_fence($1, 'lease', $2, NULL, clock_timestamp(), 'x')`,
        [organization, old],
      );
    const successor = base({ jti: uuidv7(), predecessor: { lease_id: old, renewals: 1 } });
    const grant = await world.sign(successor, { now: decided });
    await fenced();
    await expect(register.activations.activate(activateInput(grant, upstream))).rejects.toMatchObject({
      code: 'lease_ended',
    });
    expect(await world.row(successor.jti)).toBeUndefined();
    expect(await world.row(old)).toMatchObject({ state: 'active', successor_id: null });
  });

  it('activates nothing when the end comes after the first look at the old lease', async () => {
    const old = await issue();
    const assertion = await world.assert(
      { action: 'end_lease', lease_id: old, reason: 'given back' },
      { sessionId: session },
    );
    await register.ends.endLease(assertion);
    const claims = base({ predecessor: { lease_id: old, renewals: 1 } });
    const facts = factsOf(claims, traceparent());
    const outcome = await activateLease(
      world.database.pool,
      {
        ...facts,
        grantedAt: new Date(),
        sessionExpiresAt: new Date(claims.session_expires_at),
        revocability: upstream.revocability,
        renewable: true,
        handle,
        fingerprints: [],
        useKeys: {},
        mintId: randomUUID(),
      },
      leaseEvent('credential.issued', facts),
      0,
      { predecessorId: old, renewals: 1, graceSeconds: 1, event: leaseEvent('credential.renewed', facts) },
    );
    expect(outcome).toEqual({ outcome: 'ended' });
    expect(await world.row(claims.jti)).toBeUndefined();
    expect((await world.row(old))?.['successor_id']).toBeNull();
  });

  it('of two successors at once lets one become active', async () => {
    const old = await issue();
    const results = await Promise.allSettled([succeed(old), succeed(old), succeed(old)]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'lease_ended' });
    }
    const { rows } = await world.database.pool.query('SELECT FROM revocation.leases WHERE session_id = $1', [
      session,
    ]);
    expect(rows).toHaveLength(2);
  });

  it('of a chain lets two live at a time: the third waits for the end of the first', async () => {
    const first = await issue();
    const second = await succeed(first, { renewal: { ...renewal, grace_seconds: 300 } });
    const third = { predecessor: { lease_id: second, renewals: 2 } };
    await expect(succeed(second, third)).rejects.toMatchObject({ code: 'lease_ended' });
    expect(await world.row(second)).toMatchObject({ state: 'active', successor_id: null });
    register.start();
    await register.ends.endLease(
      await world.assert(
        { action: 'end_lease', lease_id: first, reason: 'given back' },
        { sessionId: session },
      ),
    );
    await until(async () => (await world.row(first))?.['ended_at'] !== null);
    await succeed(second, third);
    expect((await world.row(second))?.['successor_id']).not.toBeNull();
  });

  it('I5: takes the place of no lease of another session or agent', async () => {
    const old = await issue();
    session = randomUUID();
    await expect(succeed(old)).rejects.toMatchObject({ code: 'lease_ended' });
    expect((await world.row(old))?.['successor_id']).toBeNull();
  });

  it('never moves the end of the old lease to later', async () => {
    const claims = base({ ttl_seconds: 2 });
    await register.activations.activate(activateInput(await world.sign(claims), upstream));
    const before = (await world.row(claims.jti)) as { expires_at: Date };
    await succeed(claims.jti, { renewal: { ...renewal, grace_seconds: 300 } });
    expect((await world.row(claims.jti))?.['expires_at']).toEqual(before.expires_at);
  });
});
