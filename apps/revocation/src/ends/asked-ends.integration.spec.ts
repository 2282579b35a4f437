import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { LeaseView, MayflyError } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import { v7 as uuidv7 } from 'uuid';
import type { Register } from '../register.ts';
import { agentId, openWorld, organization, until, type World } from '../register-fixtures.ts';

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error: unknown) => (error as MayflyError).code,
  );

describe('ends that are asked for', () => {
  let world: World;
  let register: Register;

  beforeAll(async () => {
    world = await openWorld();
    register = world.replica({ MAYFLY_END_ANSWER_MS: '300' });
    register.start();
  });
  afterAll(() => world.close());

  const giveBack = async (lease_id: string, asker: Parameters<World['assert']>[1] = {}) =>
    register.ends.endLease(
      await world.assert({ action: 'end_lease', lease_id, reason: 'given back' }, asker),
    );
  it('are done before the answer where they can be, and told once', async () => {
    const leaseId = await world.issue(register);
    expect(await giveBack(leaseId)).toEqual({ lease_id: leaseId, outcome: 'revoked' });
    expect(await giveBack(leaseId)).toEqual({ lease_id: leaseId, outcome: 'already_ended' });
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.revoked']);
    expect(await world.row(leaseId)).toMatchObject({
      state: 'revoked',
      end_reason: 'given back',
      handle: null,
    });
  });

  it('tell honestly what can only be eventual or at expiry', async () => {
    const eventual = await world.issue(
      register,
      {},
      { revocability: { kind: 'eventual', within_seconds: 60 } },
    );
    const told = await giveBack(eventual);
    expect(told.outcome).toBe('eventual');
    expect(Math.abs(Date.parse(told.by ?? '') - Date.now() - 60_000)).toBeLessThan(5_000);

    const native = new Date(Date.now() + 50_000).toISOString();
    const jwt = await world.issue(
      register,
      { provider: 'jwt' },
      { revocability: { kind: 'expiry_only' }, native_expires_at: native },
    );
    const introspect = await world.assert({ action: 'introspect' });
    expect(await register.leases.status({ assertion: introspect, lease_id: jwt })).toEqual({ live: true });
    expect(await giveBack(jwt)).toEqual({ lease_id: jwt, outcome: 'expiry_only', by: native });
    expect(await register.leases.status({ assertion: introspect, lease_id: jwt })).toEqual({ live: false });
    expect(world.bus.revoked).not.toContain(jwt);
  });

  it('answer "ending" when the provider takes longer than an asker waits, and go on', async () => {
    const leaseId = await world.issue(register);
    let finish: () => void = () => undefined;
    world.bus.onRevoke = () => new Promise((resolve) => (finish = () => resolve('revoked')));
    try {
      expect(await giveBack(leaseId)).toEqual({ lease_id: leaseId, outcome: 'ending' });
      expect(await giveBack(leaseId)).toEqual({ lease_id: leaseId, outcome: 'ending' });
    } finally {
      world.bus.onRevoke = () => Promise.resolve('revoked');
    }
    finish();
    await until(async () => (await world.row(leaseId))?.['state'] === 'revoked');
  });

  it('reach no lease of another agent or organization, and do not tell that there is one', async () => {
    const leaseId = await world.issue(register);
    const read = async (asker: Parameters<World['assert']>[1]) =>
      register.leases.get(await world.assert({ action: 'read_lease', lease_id: leaseId }, asker));
    const strangers = [
      { agentId: agentId('other') },
      { organization: 'other-org' },
      { organization: 'other-org', administrator: true },
    ];
    for (const stranger of strangers) {
      expect(await codeOf(giveBack(leaseId, stranger))).toBe('not_found');
      expect(await codeOf(giveBack(uuidv7(), stranger))).toBe('not_found');
      expect(await codeOf(read(stranger))).toBe('not_found');
    }
    expect(await world.row(leaseId)).toMatchObject({ state: 'active' });
    expect(await giveBack(leaseId, { administrator: true })).toMatchObject({ outcome: 'revoked' });
  });

  it('take an assertion of just this act', async () => {
    const leaseId = await world.issue(register);
    const reading = await world.assert({ action: 'read_lease', lease_id: leaseId });
    expect(await codeOf(register.ends.endLease(reading))).toBe('policy_denied');
    const sessionOfAnother = await world.assert({ action: 'end_session', session_id: randomUUID() });
    expect(await codeOf(register.ends.endSession(sessionOfAnother))).toBe('policy_denied');
    expect(await codeOf(register.ends.endLease(`${reading.slice(0, -4)}AAAA`))).toBe('unauthenticated');
  });

  it('of a closed session come by its event too, as often as it is delivered', async () => {
    const session = randomUUID();
    const leaseId = await world.issue(register, { actor: { session_id: session } });
    const event = newEvent('policy', 'session.closed', { organization, session_id: session });
    const reasons: string[] = [];
    const delivery = { event, reject: (reason: string) => reasons.push(reason) };
    await register.ends.sessionsClosed([delivery, delivery]);
    await until(async () => (await world.row(leaseId))?.['state'] === 'revoked');
    await register.ends.sessionsClosed([delivery]);
    expect(await world.eventsOf(leaseId)).toEqual(['credential.issued', 'credential.revoked']);
    expect(reasons).toEqual([]);
  });

  describe('leases', () => {
    it('are listed page by page, newest first, to whom they belong', async () => {
      const asker = { agentId: agentId('lister') };
      const ids: string[] = [];
      for (let index = 0; index < 5; index++) {
        ids.unshift(await world.issue(register, { actor: { agent_id: asker.agentId } }));
      }
      await giveBack(ids[0] ?? '', asker);
      const page = async (state: 'live' | 'all', after?: string) =>
        register.leases.list({
          assertion: await world.assert({ action: 'list_leases' }, asker),
          state,
          limit: 2,
          ...(after !== undefined && { after }),
        });
      const seen: string[] = [];
      for (let next: string | undefined = undefined, more = true; more;) {
        const { leases, next: following } = await page('all', next);
        seen.push(...leases.map((lease) => LeaseView.parse(lease).lease_id));
        next = following;
        more = following !== undefined;
      }
      expect(seen).toEqual(ids);
      expect((await page('live')).leases.map((lease) => lease.lease_id)).toEqual(ids.slice(1, 3));
      const administrator = await world.assert({ action: 'list_leases' }, { administrator: true });
      const all = await register.leases.list({ assertion: administrator, state: 'all', limit: 500 });
      expect(all.leases.map((lease) => lease.lease_id)).toEqual(expect.arrayContaining(ids));
      expect(JSON.stringify(all)).not.toContain('aaaa.bbbb');
    });

    it('that can not be ended are listed for an administrator, with how often and why', async () => {
      const world = await openWorld();
      try {
        const register = world.replica({ MAYFLY_DUE_POLL_MS: '50' });
        await world.issue(register);
        const failing = await world.issue(register, { ttl_seconds: 1 });
        world.bus.onRevoke = () =>
          Promise.reject(new MayflyError('provider_rejected', 'text of the upstream'));
        register.start();
        await until(async () => (await world.row(failing))?.['last_error'] !== null);
        const assertion = await world.assert({ action: 'list_leases' }, { administrator: true });
        const { leases } = await register.leases.list({ assertion, state: 'failing', limit: 10 });
        expect(leases).toMatchObject([
          { lease_id: failing, state: 'revoking', failing: { attempts: 1, last_error: 'provider_rejected' } },
        ]);
        expect(JSON.stringify(leases)).not.toContain('text of the upstream');
      } finally {
        await world.close();
      }
    });

    it('that are overdue are listed too, although no attempt has failed, since nobody has taken them up', async () => {
      const world = await openWorld();
      try {
        const register = world.replica();
        await world.issue(register);
        const overdue = await world.issue(register);
        await world.database.pool.query(
          `UPDATE revocation.leases SET due_at = now() - interval '11 s' WHERE lease_id = $1`,
          [overdue],
        );
        const assertion = await world.assert({ action: 'list_leases' }, { administrator: true });
        const { leases } = await register.leases.list({ assertion, state: 'failing', limit: 10 });
        expect(leases.map((lease) => LeaseView.parse(lease))).toMatchObject([
          { lease_id: overdue, state: 'active', failing: { attempts: 0 } },
        ]);
        expect(leases[0]?.failing).not.toHaveProperty('last_error');
      } finally {
        await world.close();
      }
    });

    it('report a use as a signal in their trace, while they live', async () => {
      const leaseId = await world.issue(register);
      const report = async (asker = {}) =>
        register.leases.reportUse({
          assertion: await world.assert({ action: 'report_use', lease_id: leaseId }, asker),
          action: 'SELECT 1',
          outcome: 'success',
        });
      await report();
      expect(world.signals.at(-1)).toMatchObject({
        type: 'dev.mayfly.credential.used.v1',
        subject: leaseId,
        data: { source: 'reported', outcome: 'success', action_context: { action: 'SELECT 1' } },
      });
      expect(await codeOf(report({ agentId: agentId('other') }))).toBe('not_found');
      await giveBack(leaseId);
      expect(await codeOf(report())).toBe('lease_ended');
    });
  });
});
