import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Act, MayflyError } from '@mayfly/contracts';
import { MayflyEvent } from '@mayfly/contracts';
import { newEvent } from '@mayfly/messaging';
import { tokenKinds, TokenSigner } from '@mayfly/tokens';
import { v7 as uuidv7 } from 'uuid';
import type { Register } from '../register.ts';
import {
  activateInput,
  agentId,
  grantClaims,
  handle,
  openWorld,
  organization,
  testKeys,
  traceparent,
  until,
  type GrantChanges,
  type World,
} from '../register-fixtures.ts';

type Subject = Extract<Act, { action: 'revoke' }>['subject'];

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error: unknown) => (error as MayflyError).code,
  );

describe('activation', () => {
  let world: World;
  let register: Register;

  beforeAll(async () => {
    world = await openWorld();
    // Not started: what is due stays as it is.
    register = world.replica({ MAYFLY_END_ANSWER_MS: '50' });
  });
  afterAll(() => world.close());

  const revoke = async (subject: Subject, org = organization) =>
    register.revocations.revoke(
      await world.assert(
        { action: 'revoke', subject, reason: 'test' },
        { administrator: true, organization: org },
      ),
    );
  const intend = (jti: string) => {
    const claims = grantClaims({ jti });
    const event = newEvent(
      'minting',
      'credential.intended',
      {
        organization,
        lease_id: jti,
        session_id: claims.actor.session_id,
        agent_id: claims.actor.agent_id,
        credential: claims.credential,
        provider: claims.provider,
        ttl_seconds: 60,
        config_version: 3,
      },
      { traceparent: traceparent() },
    );
    return register.intents.record([{ event, reject: (reason) => expect(reason).toBeUndefined() }]);
  };

  it('commits the lease and its event together, with times by Postgres', async () => {
    const claims = grantClaims({ claimed_task: 'say "@issued_at@"' });
    const input = activateInput(await world.sign(claims));
    const { issued_at, expires_at } = await register.activations.activate(input);
    expect(Date.parse(expires_at) - Date.parse(issued_at)).toBe(60_000);

    expect(await world.row(claims.jti)).toMatchObject({
      state: 'active',
      organization,
      agent_role: 'ci',
      user: 'ann@acme.test',
      integration: 'orders-db',
      scope: { privileges: ['SELECT'] },
      handle,
      issuance_traceparent: input.issuance_traceparent,
      renewable: true,
    });
    const [event, ...more] = (await world.outbox()).filter(({ subject }) => subject === claims.jti);
    expect(more).toEqual([]);
    expect(MayflyEvent.parse(event)).toMatchObject({
      type: 'dev.mayfly.credential.issued.v1',
      traceparent: input.issuance_traceparent,
      data: {
        issued_at,
        expires_at,
        claimed_task: claims.claimed_task,
        trace_id: input.issuance_traceparent.slice(3, 35),
        source_ip: '203.0.113.7',
        policy_ids: ['p1'],
        use_keys: { 'postgres.role': 'mayfly_x' },
      },
    });
    expect(JSON.stringify(event)).not.toContain(handle);
  });

  it('never outlives what the upstream ends by itself', async () => {
    const native = new Date(Date.now() + 30_000).toISOString();
    const { expires_at } = await register.activations.activate(
      activateInput(await world.sign(grantClaims()), { native_expires_at: native }),
    );
    expect(expires_at).toBe(native);
  });

  describe('of a lease whose session is about to end', () => {
    /** A grant for 60 s of a session that ends so many milliseconds from now. */
    const grantFor = (leftMs: number, changes: GrantChanges = {}) =>
      world.sign(
        grantClaims({ ...changes, session_expires_at: new Date(Date.now() + leftMs).toISOString() }),
      );

    it('I4: cuts it at the end of the session, however long its mint took', async () => {
      const session_expires_at = new Date(Date.now() + 20_000).toISOString();
      const claims = grantClaims({ session_expires_at });
      const { expires_at } = await register.activations.activate(activateInput(await world.sign(claims)));
      expect(expires_at).toBe(session_expires_at);
      const row = await world.row(claims.jti);
      // What can be ended is ended then.
      expect([row?.['expires_at'], row?.['due_at']]).toEqual(
        Array.from({ length: 2 }, () => new Date(session_expires_at)),
      );
    });

    it('I4: refuses it once the session is over, and leaves nothing that is active', async () => {
      const jti = uuidv7();
      await intend(jti);
      const input = activateInput(await grantFor(-1, { jti }));
      expect(await codeOf(register.activations.activate(input))).toBe('lease_ended');
      expect(await world.row(jti)).toMatchObject({ state: 'intended' });
      expect(await world.eventsOf(jti)).toEqual([]);
    });

    it('I4: neither lets a successor outlive it, nor ends the predecessor for one that comes too late', async () => {
      const session_id = randomUUID();
      const predecessor = await world.issue(register, { actor: { session_id } });
      const succession: GrantChanges = {
        actor: { session_id },
        renewal: { kind: 'rotation', max_life_seconds: 3600, max_count: 3, grace_seconds: 5 },
        predecessor: { lease_id: predecessor, renewals: 1 },
      };
      const before = await world.row(predecessor);
      const late = activateInput(await grantFor(-1, succession));
      expect(await codeOf(register.activations.activate(late))).toBe('lease_ended');
      expect(await world.row(predecessor)).toEqual(before);
      const session_expires_at = new Date(Date.now() + 20_000).toISOString();
      const { expires_at } = await register.activations.activate(
        activateInput(await world.sign(grantClaims({ ...succession, session_expires_at }))),
      );
      expect(expires_at).toBe(session_expires_at);
    });
  });

  it('happens once for one grant, however often and however much at once it is tried', async () => {
    const claims = grantClaims();
    const input = activateInput(await world.sign(claims));
    const codes = await Promise.all(
      Array.from({ length: 12 }, () => codeOf(register.activations.activate(input))),
    );
    expect(codes.filter((code) => code === 'ok')).toHaveLength(1);
    expect(codes.filter((code) => code === 'lease_ended')).toHaveLength(11);
    expect(await codeOf(register.activations.activate(input))).toBe('lease_ended');
    expect(await world.eventsOf(claims.jti)).toEqual(['credential.issued']);
  });

  it('takes the facts from the grant, whatever the intent said, and ends its orphaning', async () => {
    const claims = grantClaims({ actor: { agent_id: agentId('two') } });
    await intend(claims.jti);
    expect(await world.row(claims.jti)).toMatchObject({ state: 'intended', agent_id: agentId('one') });
    await register.activations.activate(activateInput(await world.sign(claims)));
    expect(await world.row(claims.jti)).toMatchObject({
      state: 'active',
      agent_id: agentId('two'),
      attempts: 0,
    });
    // An intent that comes again, or late, changes nothing.
    await intend(claims.jti);
    expect(await world.row(claims.jti)).toMatchObject({ state: 'active' });
  });

  it('refuses a grant that policy did not sign, or that is for another service', async () => {
    const claims = grantClaims();
    const forged = new TokenSigner(tokenKinds.grant, testKeys('grants'));
    const byMinting = await forged.sign(claims, { now: new Date() });
    const elsewhere = await world.sign(claims, { audience: 'mayfly-minting' });
    const expired = await world.sign(claims, { now: new Date(Date.now() - 120_000) });
    for (const grant of [byMinting, elsewhere, expired]) {
      expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('unauthenticated');
    }
    expect(await world.row(claims.jti)).toBeUndefined();
  });

  describe('fences', () => {
    const session = randomUUID();
    const past = () => new Date(Date.now() - 3_000);
    const cases: [string, Subject, GrantChanges][] = [
      ['session', { kind: 'session', id: session }, { actor: { session_id: session } }],
      ['parent session', { kind: 'session', id: session }, { actor: { parent_session_id: session } }],
      ['agent', { kind: 'agent', id: agentId('fenced') }, { actor: { agent_id: agentId('fenced') } }],
      ['user', { kind: 'user', id: 'eve@acme.test' }, { actor: { user: 'eve@acme.test' } }],
      ['credential', { kind: 'credential', id: 'other/one' }, { credential: 'other/one' }],
      [
        'integration',
        { kind: 'integration', id: 'other2' },
        { credential: 'other2/x', integration: { name: 'other2', settings: {}, secret_references: [] } },
      ],
      ['organization', { kind: 'organization', id: 'fenced-org' }, { actor: { organization: 'fenced-org' } }],
    ];

    it.each(cases)(
      'by %s stop what was granted before and nothing granted after',
      async (_, subject, changes) => {
        const org = changes.actor?.organization ?? organization;
        const before = await world.sign(grantClaims(changes), { now: past() });
        await revoke(subject, org);
        expect(await codeOf(register.activations.activate(activateInput(before)))).toBe('lease_ended');
        const next = await world.sign(grantClaims(changes), { now: new Date(Date.now() + 2) });
        expect(await codeOf(register.activations.activate(activateInput(next)))).toBe('ok');
        const after = await world.sign(grantClaims(changes), { now: new Date(Date.now() + 2_000) });
        expect(await codeOf(register.activations.activate(activateInput(after)))).toBe('ok');
        const unrelated = await world.sign(grantClaims({ actor: { user: 'bob@acme.test' } }), {
          now: past(),
        });
        expect(await codeOf(register.activations.activate(activateInput(unrelated)))).toBe('ok');
      },
    );

    const spelledSession = randomUUID();
    it.each<[string, Subject, GrantChanges]>([
      [
        'a session in capital letters',
        { kind: 'session', id: spelledSession.toUpperCase() },
        { actor: { session_id: spelledSession } },
      ],
      [
        'an agent whose trust domain is in capital letters',
        { kind: 'agent', id: agentId('spelled').replace('spiffe://acme', 'SPIFFE://ACME') },
        { actor: { agent_id: agentId('spelled') } },
      ],
      ['a user in another case', { kind: 'user', id: 'Mal@ACME.test' }, { actor: { user: 'mal@acme.test' } }],
      [
        'a user in another normal form',
        { kind: 'user', id: 'zoe\u0308@acme.test' },
        { actor: { user: 'zo\u00eb@acme.test' } },
      ],
    ])('by %s stop the mint that is under way', async (_, subject, changes) => {
      const before = await world.sign(grantClaims(changes), { now: past() });
      await revoke(subject);
      expect(await codeOf(register.activations.activate(activateInput(before)))).toBe('lease_ended');
    });

    it('by a lease id in capital letters stop its mint', async () => {
      const claims = grantClaims();
      const before = await world.sign(claims, { now: past() });
      await revoke({ kind: 'lease', id: claims.jti.toUpperCase() });
      expect(await codeOf(register.activations.activate(activateInput(before)))).toBe('lease_ended');
    });

    it('of another organization stop nothing', async () => {
      const grant = await world.sign(grantClaims({ actor: { user: 'uma@acme.test' } }), { now: past() });
      await revoke({ kind: 'user', id: 'uma@acme.test' }, 'other-org');
      expect(await codeOf(revoke({ kind: 'organization', id: organization }, 'other-org'))).toBe(
        'policy_denied',
      );
      await revoke({ kind: 'organization' }, 'other-org');
      expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('ok');
    });

    it('of a session that has ended stop everything, whenever it was granted', async () => {
      const sessionId = randomUUID();
      await register.ends.endSession(
        await world.assert({ action: 'end_session', session_id: sessionId }, { sessionId }),
      );
      const later = await world.sign(grantClaims({ actor: { session_id: sessionId } }), {
        now: new Date(Date.now() + 10_000),
      });
      expect(await codeOf(register.activations.activate(activateInput(later)))).toBe('lease_ended');
    });

    it('stop a lease that its agent gives back before it is here, but not that of another agent', async () => {
      const mine = grantClaims();
      const notMine = grantClaims({ actor: { agent_id: agentId('two') } });
      for (const lease_id of [mine.jti, notMine.jti]) {
        const assertion = await world.assert({ action: 'end_lease', lease_id, reason: 'undelivered' });
        expect(await codeOf(register.ends.endLease(assertion))).toBe('not_found');
      }
      expect(await codeOf(register.activations.activate(activateInput(await world.sign(mine))))).toBe(
        'lease_ended',
      );
      expect(await codeOf(register.activations.activate(activateInput(await world.sign(notMine))))).toBe(
        'ok',
      );
    });

    it('win against every activation that races with them', async () => {
      for (let round = 0; round < 8; round++) {
        const sessionId = randomUUID();
        const byParent = round % 2 === 1;
        const grants = await Promise.all(
          Array.from({ length: 24 }, () =>
            world.sign(
              grantClaims({ actor: byParent ? { parent_session_id: sessionId } : { session_id: sessionId } }),
            ),
          ),
        );
        const assertion = await world.assert({ action: 'end_session', session_id: sessionId }, { sessionId });
        const first = grants
          .slice(0, 8)
          .map((grant) => codeOf(register.activations.activate(activateInput(grant))));
        const revoked = register.ends.endSession(assertion);
        const rest = grants
          .slice(8)
          .map((grant) => codeOf(register.activations.activate(activateInput(grant))));
        await revoked;
        const { rows } = await world.database.pool.query(
          `SELECT state FROM revocation.leases WHERE (session_id = $1 OR parent_session_id = $1) AND state = 'active'`,
          [sessionId],
        );
        expect(rows).toEqual([]);
        await Promise.all([...first, ...rest]);
        const late = await world.database.pool.query(
          `SELECT state FROM revocation.leases WHERE (session_id = $1 OR parent_session_id = $1) AND state = 'active'`,
          [sessionId],
        );
        expect(late.rows).toEqual([]);
      }
    });
  });

  describe('a grant that is cancelled', () => {
    it('can not be activated any more', async () => {
      const grant = await world.sign(grantClaims());
      expect(await register.activations.cancel({ grant })).toEqual({ outcome: 'cancelled' });
      expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('lease_ended');
    });

    it('changes nothing once its mint has begun', async () => {
      const claims = grantClaims();
      await intend(claims.jti);
      const grant = await world.sign(claims);
      expect(await register.activations.cancel({ grant })).toEqual({ outcome: 'begun' });
      expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('ok');
    });
  });

  describe('abandonment', () => {
    const abandon = async (
      grant: string,
      cleanup: 'done' | 'pending',
      more: { handle?: string; mint_id?: string } = {},
    ) =>
      register.activations.abandon({
        grant,
        issuance_traceparent: traceparent(),
        reason: 'provider_rejected',
        cleanup,
        mint_id: randomUUID(),
        ...more,
      });

    it('of a lease that is not here makes it failed, and a late activation is refused', async () => {
      const claims = grantClaims();
      const grant = await world.sign(claims);
      await abandon(grant, 'done');
      await abandon(grant, 'done');
      expect(await world.row(claims.jti)).toMatchObject({ state: 'failed', cleanup: 'done', due_at: null });
      expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('lease_ended');
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.failed']);
    });

    it('of an intent makes it failed and keeps the handle for the clean-up', async () => {
      const claims = grantClaims();
      await intend(claims.jti);
      await abandon(await world.sign(claims), 'pending', { handle });
      const row = await world.row(claims.jti);
      expect(row).toMatchObject({ state: 'failed', cleanup: 'pending', handle });
      expect(row?.['due_at']).not.toBeNull();
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.failed']);
    });

    it('of a mint that ended after the clean-up has what it made since removed as well', async () => {
      const claims = grantClaims();
      const grant = await world.sign(claims);
      await abandon(grant, 'done');
      await abandon(grant, 'pending', { handle });
      const row = await world.row(claims.jti);
      expect(row).toMatchObject({ state: 'failed', cleanup: 'pending', handle });
      expect(row?.['due_at']).not.toBeNull();
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.failed']);
    });

    it('of a lease that did become active revokes it', async () => {
      const claims = grantClaims();
      const grant = await world.sign(claims);
      const input = activateInput(grant);
      await register.activations.activate(input);
      await abandon(grant, 'pending', { handle, mint_id: input.mint_id });
      expect(await world.row(claims.jti)).toMatchObject({
        state: 'revoking',
        end_cause: 'revoked',
        end_reason: 'abandoned',
      });
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.issued']);
    });

    it('of a grant that was redeemed twice leaves the lease that the other redemption made', async () => {
      const claims = grantClaims();
      const grant = await world.sign(claims);
      await register.activations.activate(activateInput(grant));
      expect(await codeOf(register.activations.activate(activateInput(grant)))).toBe('lease_ended');
      await abandon(grant, 'done');
      expect(await world.row(claims.jti)).toMatchObject({ state: 'active' });
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.issued']);
    });

    it('of a lease that is ending or has ended changes nothing', async () => {
      const claims = grantClaims();
      const grant = await world.sign(claims);
      const input = activateInput(grant);
      await register.activations.activate(input);
      await register.ends.endLease(
        await world.assert({ action: 'end_lease', lease_id: claims.jti, reason: 'done' }),
      );
      await until(async () => (await world.row(claims.jti))?.['state'] === 'revoked');
      await abandon(grant, 'pending', { handle, mint_id: input.mint_id });
      expect(await world.row(claims.jti)).toMatchObject({ state: 'revoked', handle: null, due_at: null });
      expect(await world.eventsOf(claims.jti)).toEqual(['credential.issued', 'credential.revoked']);
    });

    it.each(['before', 'after'] as const)(
      'of a grant that was redeemed twice has what the other redemption made removed, told of %s the end',
      async (when) => {
        const world = await openWorld();
        try {
          const register = world.replica({ MAYFLY_DUE_POLL_MS: '50' });
          register.start();
          const asked: string[] = [];
          world.bus.onRevoke = (input) => {
            asked.push(input.handle);
            return Promise.resolve('revoked');
          };
          const claims = grantClaims();
          const grant = await world.sign(claims);
          const abandonOther = () =>
            register.activations.abandon({
              grant,
              issuance_traceparent: traceparent(),
              reason: 'conflict',
              cleanup: 'pending',
              mint_id: randomUUID(),
              handle: 'other.bbbb.cccc.dddd.eeee',
            });
          await register.activations.activate(activateInput(grant));
          if (when === 'before') await abandonOther();
          expect(await world.row(claims.jti)).toMatchObject({ state: 'active', handle });
          const end = { action: 'end_lease', lease_id: claims.jti, reason: 'done' } as const;
          await register.ends.endLease(await world.assert(end));
          if (when === 'after') await abandonOther();
          await until(async () => (await world.row(claims.jti))?.['cleanup'] === 'done');
          expect(asked).toEqual([handle, 'other.bbbb.cccc.dddd.eeee']);
          expect(await world.row(claims.jti)).toMatchObject({
            state: 'revoked',
            handle: null,
            other_handle: null,
            due_at: null,
          });
          expect(await world.eventsOf(claims.jti)).toEqual(['credential.issued', 'credential.revoked']);
        } finally {
          await world.close();
        }
      },
    );
  });
});
