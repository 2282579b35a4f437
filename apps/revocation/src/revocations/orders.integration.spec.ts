import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { BlockSubject, EventData, MayflyError, MayflyEvent } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import { v7 as uuidv7 } from 'uuid';
import type { Register } from '../register.ts';
import {
  activateInput,
  agentId,
  grantClaims,
  openWorld,
  organization,
  traceparent,
  until,
  type World,
} from '../register-fixtures.ts';

describe('what policy orders by an event', () => {
  const user = 'ann@acme.test';
  const subject = { kind: 'user', id: user } as const;
  let world: World;
  let register: Register;
  let rejected: string[];

  beforeEach(async () => {
    world = await openWorld();
    register = world.replica();
    register.start();
    rejected = [];
  });
  afterEach(() => world.close());

  const blocked = (about: BlockSubject, more: EventData = {}) =>
    newEvent(
      'policy',
      'block.added',
      {
        organization,
        session_id: randomUUID(),
        agent_id: agentId('admin'),
        reason: 'strange',
        action_context: { subject: about },
        ...more,
      },
      { traceparent: traceparent() },
    );
  const deliver = (...events: MayflyEvent[]) =>
    register.orders.carryOut(events.map((event) => ({ event, reject: (reason) => rejected.push(reason) })));
  const revoke = async (revocation_id: string) =>
    register.revocations.revoke(
      await world.assert(
        { action: 'revoke', subject, reason: 'strange', revocation_id },
        { administrator: true },
      ),
    );
  const codeOf = (attempt: Promise<unknown>) =>
    attempt.then(
      () => 'ok',
      (error: unknown) => (error as MayflyError).code,
    );
  const underWay = async () => {
    const grant = await world.sign(grantClaims({ actor: { user } }), { now: new Date(Date.now() - 1_000) });
    return () => codeOf(register.activations.activate(activateInput(grant)));
  };
  const stateOf = async (leaseId: string) => (await world.row(leaseId))?.['state'];
  const requested = async () =>
    (await world.outbox()).filter(({ type }) => type.includes('revocation.requested'));

  it('is fenced though nobody else asks for it, and what lives goes on', async () => {
    const lives = await world.issue(register, { actor: { user } });
    const activate = await underWay();
    await deliver(blocked(subject));
    expect(await activate()).toBe('lease_ended');
    expect(await stateOf(lives)).toBe('active');
    expect(await requested()).toEqual([]);
    await deliver(blocked(subject));
    expect(rejected).toEqual([]);
  });

  it('is revoked though nobody else asks for it, with who asked and why', async () => {
    const [lives, other] = [
      await world.issue(register, { actor: { user } }),
      await world.issue(register, { actor: { user: 'bob@acme.test' } }),
    ];
    const activate = await underWay();
    const event = blocked(subject, { revocation_id: uuidv7() });
    await deliver(event);
    expect(await activate()).toBe('lease_ended');
    await until(async () => (await stateOf(lives)) === 'revoked');
    expect(await stateOf(other)).toBe('active');
    const [told, ...more] = await requested();
    expect(more).toEqual([]);
    expect(told).toMatchObject({
      subject: event.data.revocation_id,
      traceparent: event.traceparent,
      data: {
        organization,
        agent_id: agentId('admin'),
        session_id: event.data.session_id,
        revocation_id: event.data.revocation_id,
        reason: 'strange',
        action_context: { subject },
      },
    });
  });

  it.each(['the event before the call', 'the call before the event', 'both at once'])(
    'is carried out once: %s',
    async (order) => {
      const revocation_id = uuidv7();
      const event = blocked(subject, { revocation_id });
      const lives = await world.issue(register, { actor: { user } });
      let answer: Awaited<ReturnType<typeof revoke>>;
      if (order.startsWith('the event')) {
        await deliver(event, event);
        answer = await revoke(revocation_id);
      } else if (order.startsWith('the call')) {
        answer = await revoke(revocation_id);
        await deliver(event, event);
      } else {
        [answer] = await Promise.all([revoke(revocation_id), deliver(event), deliver(event)]);
      }
      expect(answer).toMatchObject({ revocation_id, matched: 1, revoked: 1 });
      expect(await stateOf(lives)).toBe('revoked');
      // Granted since: another delivery of the same order neither ends it nor stops its activation.
      const since = await world.sign(grantClaims({ actor: { user } }));
      await deliver(event);
      expect(await codeOf(register.activations.activate(activateInput(since)))).toBe('ok');
      expect(await requested()).toHaveLength(1);
      const { rows } = await world.database.pool.query('SELECT FROM revocation.revocations');
      expect(rows).toHaveLength(1);
    },
  );

  it('asked for twice is two revocations, the second of what has come to life since', async () => {
    await deliver(blocked(subject, { revocation_id: uuidv7() }));
    const since = await world.issue(register, { actor: { user } });
    await deliver(blocked(subject, { revocation_id: uuidv7() }));
    await until(async () => (await stateOf(since)) === 'revoked');
    expect(await requested()).toHaveLength(2);
  });

  it('of a recovery, which has no session, is revoked, and told as its', async () => {
    const lives = await world.issue(register, { actor: { user } });
    const activate = await underWay();
    const revocation_id = uuidv7();
    const { session_id, agent_id, ...nobody } = blocked(subject, { revocation_id }).data;
    expect([session_id, agent_id]).not.toContain(undefined);
    const action_context = { subject, applied_by: 'recovery', host: 'here' };
    await deliver(newEvent('policy', 'config.removed', { ...nobody, action_context }));
    expect(rejected).toEqual([]);
    expect(await activate()).toBe('lease_ended');
    await until(async () => (await stateOf(lives)) === 'revoked');
    const [told] = await requested();
    expect(told).toMatchObject({
      data: { revocation_id, action_context: { subject, applied_by: 'recovery' } },
    });
    expect(told?.data).not.toHaveProperty('agent_id');
    const assertion = await world.assert({ action: 'list_revocations' }, { administrator: true });
    expect(await register.revocations.list({ assertion, limit: 20 })).toMatchObject({
      revocations: [{ revocation_id, asked_by: 'recovery', revoked: 1 }],
    });
  });

  it('stops nothing of another organization', async () => {
    const lives = await world.issue(register, { actor: { user } });
    const event = blocked(subject, { revocation_id: uuidv7(), organization: 'globex' });
    await deliver(event);
    await until(async () => {
      const { rows } = await world.database.pool.query(
        'SELECT FROM revocation.revocations WHERE done_at IS NOT NULL',
      );
      return rows.length === 1;
    });
    expect(await stateOf(lives)).toBe('active');
  });

  it('is seen by the administrators of its organization, and by who asked for it within the own one', async () => {
    const ids = { own: uuidv7(), globex: uuidv7() };
    await deliver(
      blocked(subject, { revocation_id: ids.own }),
      blocked(subject, { revocation_id: ids.globex, organization: 'globex' }),
    );
    const seenBy = async (who: Parameters<World['assert']>[1]) => {
      const { revocations } = await register.revocations.list({
        assertion: await world.assert({ action: 'list_revocations' }, who),
        limit: 20,
      });
      const one = async (revocation_id: string) =>
        register.revocations.get({
          assertion: await world.assert({ action: 'read_revocation', revocation_id }, who),
          leases: 'all',
          limit: 100,
        });
      const listed = revocations.map(({ revocation_id }) => revocation_id);
      for (const id of Object.values(ids)) {
        expect(await codeOf(one(id))).toBe(listed.includes(id) ? 'ok' : 'not_found');
      }
      return listed;
    };
    const asked = { platformAdministrator: true, agentId: agentId('admin') };
    expect(await seenBy(asked)).toEqual([ids.own]);
    expect(await seenBy({ ...asked, agentId: agentId('another') })).toEqual([]);
    expect(await seenBy({ ...asked, organization: 'initech' })).toEqual([]);
    expect(await seenBy({ administrator: true })).toEqual([ids.own]);
    expect(await seenBy({ administrator: true, organization: 'globex' })).toEqual([ids.globex]);
  });

  it('is put aside when it can not be carried out, and what follows it is', async () => {
    const lives = await world.issue(register, { actor: { user } });
    const whole = blocked(subject).data;
    const without = (field: keyof EventData): EventData =>
      Object.fromEntries(Object.entries(whole).filter(([name]) => name !== field));
    const bad: EventData[] = [
      ...(['organization', 'session_id', 'agent_id', 'reason', 'action_context'] as const).map(without),
      { ...whole, action_context: {} },
      // A recovery has neither agent nor session.
      { ...whole, action_context: { subject, applied_by: 'recovery' } },
      { ...whole, action_context: { subject: { kind: 'session', id: 'no uuid' } } },
      { ...whole, action_context: { subject: { kind: 'organization', id: organization } } },
      { ...whole, action_context: { subject: { kind: 'everything', id: '*' } } },
      { ...whole, action_context: { subject: { kind: 'user', id: 'nul\0' } } },
      { ...whole, agent_id: 'nobody', revocation_id: uuidv7() },
      { ...whole, organization: '*', revocation_id: uuidv7() },
    ];
    const last = blocked(subject, { revocation_id: uuidv7() });
    await deliver(...bad.map((data) => ({ ...blocked(subject), data })), last);
    expect(rejected).toHaveLength(bad.length);
    await until(async () => (await stateOf(lives)) === 'revoked');
    expect((await requested()).map(({ subject: id }) => id)).toEqual([last.data.revocation_id]);
  });
});
