/** Renewal in place on a real Postgres: the order of its steps, what it must not race with, and what a crash leaves. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { MayflyEvent } from '@mayfly/contracts';
import { TokenSigner, tokenKinds } from '@mayfly/tokens';
import type { Register } from '../register.ts';
import {
  agentId,
  FakeBus,
  handle,
  openWorld,
  organization,
  renewalClaims,
  testKeys,
  until,
  type GrantChanges,
  type RenewalChanges,
  type World,
} from '../register-fixtures.ts';

describe('a renewal in place', () => {
  let world: World;
  let register: Register;
  let session: string;
  const defaultRenew = new FakeBus().onRenew;

  beforeAll(async () => {
    world = await openWorld();
  });
  afterAll(() => world.close());
  beforeEach(() => {
    register = world.replica();
    session = randomUUID();
    world.bus.renewed.length = 0;
  });
  afterEach(async () => {
    world.bus.onRenew = defaultRenew;
    await register.stop();
  });

  const issue = (changes: GrantChanges = {}) =>
    world.issue(
      register,
      { ...changes, actor: { session_id: session, ...changes.actor } },
      { native_expires_at: new Date(Date.now() + 60_000).toISOString() },
    );
  const sign = (leaseId: string, changes: Partial<RenewalChanges> = {}) =>
    world.signRenewal({ lease_id: leaseId, actor: { session_id: session }, ...changes });
  const renew = async (leaseId: string, changes: Partial<RenewalChanges> = {}, by: Register = register) =>
    by.renewals.renew(await sign(leaseId, changes));
  const instants = async (leaseId: string) => {
    const row = await world.row(leaseId);
    const at = (column: string) => (row?.[column] as Date | null)?.getTime() ?? 0;
    return { expires: at('expires_at'), due: at('due_at'), native: at('native_expires_at') };
  };
  const administrator = () => ({ administrator: true, agentId: 'spiffe://acme.test/person/ann' });

  it('moves the end, tells it once in the trace of the lease, and hands out no secret', async () => {
    const leaseId = await issue();
    const before = await instants(leaseId);
    const answer = await renew(leaseId);
    const after = await instants(leaseId);
    expect(answer).toMatchObject({ lease_id: leaseId, renewals: 1, credential: 'orders-db/readonly' });
    expect(Object.keys(answer).filter((key) => ['secret', 'sealed', 'handle'].includes(key))).toEqual([]);
    expect(after.expires).toBe(Date.parse(answer.expires_at));
    expect(after.due).toBe(after.expires);
    expect(after.expires - before.expires).toBeGreaterThan(50_000);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.renewed']);
    const renewed = (await world.outbox()).find(({ type }) => type.includes('renewed'));
    const row = await world.row(leaseId);
    expect(MayflyEvent.parse(renewed)).toMatchObject({
      traceparent: row?.['issuance_traceparent'],
      data: { lease_id: leaseId, renewals: 1, expires_at: answer.expires_at, outcome: 'in_place' },
    });
    expect(JSON.stringify(renewed)).not.toContain(handle);
    expect(row).toMatchObject({ renewals: 1, renewing_until: null, state: 'active' });
  });

  it('notes how late the upstream may end it before the upstream is asked', async () => {
    const leaseId = await issue();
    const before = await instants(leaseId);
    let during = before;
    world.bus.onRenew = async (input) => {
      during = await instants(leaseId);
      expect(Date.parse(input.native_not_after)).toBe(during.native);
      expect(input.ttl_seconds).toBeGreaterThan(110);
      expect(input.ttl_seconds).toBeLessThanOrEqual(120);
      return defaultRenew(input);
    };
    await renew(leaseId);
    expect(during.native).toBeGreaterThan(before.native + 100_000);
    // Its end is still the old one: if all died now, it would end then.
    expect(during.due).toBe(before.due);
    expect(during.expires).toBe(before.expires);
  });

  it('leaves the old end in place when the provider fails, and lets the next try at once', async () => {
    const leaseId = await issue();
    const before = await instants(leaseId);
    world.bus.onRenew = () => Promise.reject(new Error('gone'));
    await expect(renew(leaseId)).rejects.toThrow('gone');
    expect((await instants(leaseId)).due).toBe(before.due);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued']);
    world.bus.onRenew = defaultRenew;
    expect((await renew(leaseId)).renewals).toBe(1);
  });

  it('ends on time after a crash between the provider and the commit', async () => {
    const leaseId = await issue({ ttl_seconds: 1 });
    // The replica dies: its provider call never comes back.
    world.bus.onRenew = () => new Promise(() => undefined);
    void renew(leaseId).catch(() => undefined);
    await until(async () => (await world.row(leaseId))?.['renewing_until'] !== null);
    const other = world.replica();
    other.start();
    await until(async () => (await world.row(leaseId))?.['state'] === 'expired');
    const { ended_at, expires_at } = (await world.row(leaseId)) as { ended_at: Date; expires_at: Date };
    expect(ended_at.getTime() - expires_at.getTime()).toBeLessThan(1_000);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.expired']);
  });

  it('loses against an end that came while the provider was called', async () => {
    const leaseId = await issue();
    world.bus.onRenew = async (input) => {
      const assertion = await world.assert(
        { action: 'end_lease', lease_id: leaseId, reason: 'given back' },
        { sessionId: session },
      );
      await register.ends.endLease(assertion);
      return defaultRenew(input);
    };
    await expect(renew(leaseId)).rejects.toMatchObject({ code: 'lease_ended' });
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.revoked']);
  });

  it('loses against a fence whose end has not come to the lease yet', async () => {
    const leaseId = await issue();
    const before = await instants(leaseId);
    const decided = (agoMs: number) =>
      sign(leaseId, { granted_at: new Date(Date.now() - agoMs).toISOString() });
    const [first, second] = [await decided(2_000), await decided(1_000)];
    const fence = () =>
      world.database.pool.query(
        `SELECT revocation.set_fence($1, 'session', $2, NULL, clock_timestamp(), 'x')`,
        [organization, session],
      );
    world.bus.onRenew = async (input) => {
      await fence();
      return defaultRenew(input);
    };
    await expect(register.renewals.renew(first)).rejects.toMatchObject({ code: 'lease_ended' });
    world.bus.onRenew = defaultRenew;
    // What was decided before the fence is not even begun once it is there.
    await expect(register.renewals.renew(second)).rejects.toMatchObject({ code: 'lease_ended' });
    expect(world.bus.renewed).toHaveLength(1);
    expect((await instants(leaseId)).expires).toBe(before.expires);
  });

  describe('asked for by another session of the agent', () => {
    const asker = { session_id: randomUUID(), user: 'bob@acme.test' };
    const fence = (kind: 'session' | 'user', id: string, agent: string | null = null) =>
      world.database.pool.query(`SELECT revocation.set_fence($1, $2, $3, $4, clock_timestamp(), 'x')`, [
        organization,
        kind,
        id,
        agent,
      ]);
    const decidedBefore = { granted_at: new Date(Date.now() - 3_000).toISOString() };
    afterEach(() => world.database.pool.query('DELETE FROM revocation.fences'));

    it.each([
      ['session', asker.session_id],
      ['user', asker.user],
    ] as const)(
      'is stopped by a fence of the asking %s, before it begins and before its commit',
      async (kind, id) => {
        const leaseId = await issue();
        const before = await instants(leaseId);
        const granted_at = new Date(Date.now() - 1_000).toISOString();
        world.bus.onRenew = async (input) => {
          await fence(kind, id);
          return defaultRenew(input);
        };
        await expect(renew(leaseId, { asker, granted_at })).rejects.toMatchObject({ code: 'lease_ended' });
        world.bus.onRenew = defaultRenew;
        const later = { asker, granted_at: new Date(Date.parse(granted_at) + 500).toISOString() };
        await expect(renew(leaseId, later)).rejects.toMatchObject({ code: 'lease_ended' });
        expect(world.bus.renewed).toHaveLength(1);
        expect((await instants(leaseId)).expires).toBe(before.expires);
        // The lease itself is not of that subject: it lives, and its own session renews it.
        expect((await renew(leaseId)).renewals).toBe(1);
      },
    );

    it('waits with its commit for a fence of the asking session that is being set', async () => {
      const leaseId = await issue();
      const client = await world.database.pool.connect();
      try {
        await client.query('BEGIN');
        world.bus.onRenew = async (input) => {
          await client.query(
            `SELECT pg_advisory_xact_lock(revocation.subject_lock($1, 'session', $2)),
                    revocation.set_fence($1, 'session', $2, NULL, clock_timestamp(), 'x')`,
            [organization, asker.session_id],
          );
          return defaultRenew(input);
        };
        const renewing = renew(leaseId, { asker, ...decidedBefore });
        const refused = expect(renewing).rejects.toMatchObject({ code: 'lease_ended' });
        await until(async () => {
          const { rows } = await client.query(
            `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`,
          );
          return rows.length > 0;
        });
        await client.query('COMMIT');
        await refused;
      } finally {
        await client.query('ROLLBACK');
        client.release();
      }
    });

    it('is not stopped by a fence of that user with another agent, nor by one from before the decision', async () => {
      const leaseId = await issue();
      await fence('user', asker.user, agentId('two'));
      await renew(leaseId, { asker });
      await fence('session', asker.session_id);
      const { rows } = await world.database.pool.query<{ at: Date }>(
        `SELECT clock_timestamp() + interval '1 millisecond' AS at`,
      );
      await until(() => rows[0] !== undefined && Date.now() > rows[0].at.getTime());
      await renew(leaseId, { asker, ttl_seconds: 300 });
    });

    it('is told with who asked, where that is not the session of the lease', async () => {
      const leaseId = await issue();
      await renew(leaseId, { asker });
      await renew(leaseId, { asker: { session_id: session }, ttl_seconds: 300 });
      const told = (await world.outbox()).filter(
        ({ type, subject }) => type.includes('renewed') && subject === leaseId,
      );
      expect(told.map(({ data }) => [data.session_id, data.action_context])).toEqual([
        [session, { asked_by: asker }],
        [session, undefined],
      ]);
      expect(told.map((event) => MayflyEvent.safeParse(event).success)).toEqual([true, true]);
    });
  });

  it('takes place before or after a revocation, never during it: whichever commits, the lease ends', async () => {
    for (let round = 0; round < 10; round++) {
      session = randomUUID();
      const leaseId = await issue();
      const assertion = await world.assert(
        { action: 'revoke', subject: { kind: 'session', id: session }, reason: 'x' },
        administrator(),
      );
      const [renewed] = await Promise.allSettled([renew(leaseId), register.revocations.revoke(assertion)]);
      register.start();
      await until(async () => (await world.row(leaseId))?.['state'] === 'revoked');
      if (renewed.status === 'rejected') {
        expect(renewed.reason).toMatchObject({ code: 'lease_ended' });
      }
    }
  });

  it('refuses a lease past its end even when nobody has claimed that end yet', async () => {
    const leaseId = await issue({ ttl_seconds: 1 });
    await until(async () => (await instants(leaseId)).expires < Date.now());
    await expect(renew(leaseId)).rejects.toMatchObject({ code: 'lease_ended' });
  });

  it('of two at once lets one through and has the other wait', async () => {
    const leaseId = await issue();
    let letGo: () => void = () => undefined;
    const held = new Promise<void>((resolve) => (letGo = resolve));
    world.bus.onRenew = async (input) => {
      await held;
      return defaultRenew(input);
    };
    const first = renew(leaseId);
    await until(() => world.bus.renewed.length === 1);
    const other = world.replica();
    await expect(renew(leaseId, { ttl_seconds: 300 }, other)).rejects.toMatchObject({ code: 'conflict' });
    letGo();
    expect((await first).renewals).toBe(1);
    expect(world.bus.renewed).toHaveLength(1);
  });

  it('does not commit when another has taken its place meanwhile', async () => {
    const leaseId = await issue();
    world.bus.onRenew = async (input) => {
      world.bus.onRenew = defaultRenew;
      // Its time is over; another begins and comes through.
      await world.database.pool.query(
        'UPDATE revocation.leases SET renewing_until = now() WHERE lease_id = $1',
        [leaseId],
      );
      await renew(leaseId, { ttl_seconds: 300 }, world.replica());
      return defaultRenew(input);
    };
    await expect(renew(leaseId)).rejects.toMatchObject({ code: 'conflict' });
    expect((await world.row(leaseId))?.['renewals']).toBe(1);
    expect((await instants(leaseId)).expires - Date.now()).toBeGreaterThan(250_000);
  });

  it('I3: a renewal grant is good for one renewal', async () => {
    const leaseId = await issue();
    const grant = await sign(leaseId);
    await register.renewals.renew(grant);
    await expect(register.renewals.renew(grant)).rejects.toMatchObject({ code: 'conflict' });
    // Nor later, when another has come in between.
    await renew(leaseId, { ttl_seconds: 300 });
    await expect(register.renewals.renew(grant)).rejects.toMatchObject({ code: 'conflict' });
    // Nor one that failed: whether it took effect upstream is not known.
    const failed = await sign(leaseId, { ttl_seconds: 400 });
    world.bus.onRenew = () => Promise.reject(new Error('gone'));
    await expect(register.renewals.renew(failed)).rejects.toThrow('gone');
    world.bus.onRenew = defaultRenew;
    await expect(register.renewals.renew(failed)).rejects.toMatchObject({ code: 'conflict' });
    expect((await world.row(leaseId))?.['renewals']).toBe(2);
  });

  it('never goes past the maximum life from its grant, nor past the count', async () => {
    const leaseId = await issue();
    const decided = ((await world.row(leaseId))?.['granted_at'] as Date).getTime();
    const { expires_at } = await renew(leaseId, { max_life_seconds: 90 });
    expect(Date.parse(expires_at)).toBe(decided + 90_000);
    await expect(renew(leaseId, { max_life_seconds: 90, limit: 'max_life' })).rejects.toMatchObject({
      code: 'ttl_exceeded',
      reason: 'It is at its maximum life.',
    });
    await renew(leaseId, { ttl_seconds: 200, max_count: 2 });
    await expect(renew(leaseId, { ttl_seconds: 300, max_count: 2 })).rejects.toMatchObject({
      code: 'policy_denied',
    });
  });

  it('never makes a lease end earlier', async () => {
    const leaseId = await issue();
    const before = await instants(leaseId);
    await expect(renew(leaseId, { ttl_seconds: 5 })).rejects.toMatchObject({ code: 'ttl_exceeded' });
    // An upstream whose clock is behind.
    world.bus.onRenew = () => Promise.resolve({ native_expires_at: new Date().toISOString() });
    await renew(leaseId);
    expect((await instants(leaseId)).expires).toBe(before.expires);
  });

  it('never outlives what the upstream ends by itself', async () => {
    const leaseId = await issue();
    const native = new Date(Date.now() + 90_000).toISOString();
    world.bus.onRenew = () => Promise.resolve({ native_expires_at: native });
    expect((await renew(leaseId)).expires_at).toBe(native);
  });

  it('I5: knows no lease of another session or organization, nor one that is only intended', async () => {
    const leaseId = await issue();
    for (const actor of [
      { session_id: randomUUID() },
      { session_id: session, organization: 'globex' },
      { session_id: randomUUID(), agent_id: agentId('two') },
    ]) {
      await expect(renew(leaseId, { actor })).rejects.toMatchObject({ code: 'not_found' });
    }
    await expect(renew(randomUUID())).rejects.toMatchObject({ code: 'not_found' });
    expect(world.bus.renewed).toEqual([]);
  });

  it('refuses what was not granted as renewable, and a grant for another credential', async () => {
    const fixed = await issue({ renewal: undefined });
    await expect(renew(fixed)).rejects.toMatchObject({ code: 'policy_denied' });
    const leaseId = await issue();
    await expect(renew(leaseId, { credential: 'orders-db/writer' })).rejects.toMatchObject({
      code: 'policy_denied',
    });
    await expect(renew(leaseId, { provider: 'jwt' })).rejects.toMatchObject({ code: 'policy_denied' });
    expect(world.bus.renewed).toEqual([]);
  });

  it('acts on policy’s signature alone', async () => {
    const leaseId = await issue();
    const claims = renewalClaims({ lease_id: leaseId, actor: { session_id: session } });
    const forged = await new TokenSigner(tokenKinds.renewal, testKeys('grants')).sign(claims, {
      now: new Date(),
    });
    await expect(register.renewals.renew(forged)).rejects.toMatchObject({ code: 'unauthenticated' });
    const past = new Date(Date.now() - 120_000);
    const expired = await world.signRenewal(claims, { now: past });
    await expect(register.renewals.renew(expired)).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});
