import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { blockedReason, bus, MayflyError, type BlockSubject } from '@mayfly/contracts';
import { Decide } from '../decisions/decide.ts';
import { SessionGate } from '../sessions/session-gate.ts';
import { Sweeper } from '../sessions/sweeper.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, globexAnalyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';
import { Blocks } from './blocks.ts';

let policy: RunningPolicy;
let administrator: string;
beforeAll(async () => {
  policy = await runPolicy(twoOrganizations);
  administrator = (await policy.open(boss)).token;
});
afterAll(async () => {
  await policy.stop();
});
beforeEach(() => {
  policy.signals.splice(0);
});

/** Nobody whom the blocks are about: a block of oneself is refused. */
const boss = { ...personIn('admins'), email: 'boss@acme.example' };
const agentOne = 'spiffe://acme.example/agent/ci/nightly/1';
const decide = (token: string, credential = 'tool/read') =>
  policy.get(Decide).run({ token, credential, reply_key: policy.replyKey.publicJwk, source_ip: sourceIp });
const add = (subject: BlockSubject, more: { for_seconds?: number; revoke?: boolean; token?: string } = {}) =>
  // As it comes in: the contract brings the subject into its form.
  policy.get(Blocks).add(
    bus.policy.addBlock.input.parse({
      token: administrator,
      subject,
      reason: 'acts strangely',
      revoke: false,
      source_ip: sourceIp,
      ...more,
    }),
  );
const remove = (block_id: string, token = administrator) =>
  policy.get(Blocks).remove({ token, block_id, source_ip: sourceIp });
const list = (token = administrator) => policy.get(Blocks).list({ token, limit: 100, source_ip: sourceIp });
const codeOf = (attempt: Promise<unknown>) =>
  attempt.then(
    () => 'ok',
    (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
  );
const blocked = { decision: 'deny', code: 'policy_denied', reason: blockedReason };

describe('a block', () => {
  it.each<[BlockSubject['kind'], (sessionId: string) => string]>([
    ['agent', () => agentOne],
    ['user', () => 'ann@acme.example'],
    ['session', (sessionId) => sessionId],
    ['credential', () => 'tool/read'],
    ['integration', () => 'tool'],
  ])('by %s stops every decision from its answer on, until it is removed', async (kind, idOf) => {
    const { token, sessionId } = await policy.open(analyst);
    expect(await decide(token)).toMatchObject({ decision: 'allow' });
    const { block } = await add({ kind, id: idOf(sessionId) });
    expect(await decide(token)).toEqual(blocked);
    const denial = policy.signals.find(({ type }) => type.includes('request.denied'));
    expect(denial?.data).toMatchObject({
      outcome: 'policy_denied',
      credential: 'tool/read',
      reason: `block ${block.block_id} of ${kind} ${idOf(sessionId)}: acts strangely`,
    });
    await remove(block.block_id);
    expect(await decide(token)).toMatchObject({ decision: 'allow' });
  });

  it('stops nothing else, and nothing of another organization', async () => {
    const blocks = await Promise.all([
      add({ kind: 'agent', id: 'spiffe://acme.example/agent/ci/nightly/2' }),
      add({ kind: 'user', id: agentOne }),
      add({ kind: 'session', id: randomUUID() }),
      add({ kind: 'credential', id: 'tool/write' }),
      add({ kind: 'integration', id: 'orders-db' }),
    ]);
    const { token } = await policy.open(analyst);
    expect(await decide(token)).toMatchObject({ decision: 'allow' });
    const globex = await policy.open(globexAnalyst);
    expect(await decide(globex.token, 'plans/read')).toMatchObject({ decision: 'allow' });
    for (const { block } of blocks) await remove(block.block_id);
  });

  it('of an agent or user lets it open no session', async () => {
    for (const subject of [
      { kind: 'agent', id: agentOne },
      { kind: 'user', id: 'ann@acme.example' },
    ] as const) {
      const { block } = await add(subject);
      policy.signals.splice(0);
      expect(await codeOf(policy.open(analyst))).toBe('policy_denied');
      expect(policy.signals[0]?.data).toMatchObject({
        organization: 'acme',
        outcome: 'policy_denied',
        reason: expect.stringContaining(block.block_id),
      });
      await remove(block.block_id);
      await policy.open(analyst);
    }
  });

  it.each<[BlockSubject['kind'], (sessionId: string) => string]>([
    ['user', () => 'ann@acme.example'],
    ['agent', () => 'spiffe://acme.example/person/ann.at.acme.example'],
    ['session', (sessionId) => sessionId],
  ])('of a person, by %s, ends what sessions there are, an administrator’s too', async (kind, idOf) => {
    const person = await policy.open(personIn('admins'));
    const other = await policy.open({ ...personIn('admins'), email: 'joe@acme.example' });
    const { block } = await add({ kind, id: idOf(person.sessionId) });
    expect(await codeOf(list(person.token))).toBe('unauthenticated');
    expect(await codeOf(list(other.token))).toBe('ok');
    const closed = (await policy.outbox()).filter(
      ({ type, data }) => type === 'dev.mayfly.session.closed.v1' && data.block_id === block.block_id,
    );
    expect(closed.map(({ data }) => [data.session_id, data.user, data.outcome])).toContainEqual([
      person.sessionId,
      'ann@acme.example',
      'blocked',
    ]);
    const opens = kind === 'session' ? 'ok' : 'policy_denied';
    expect(await codeOf(policy.open(personIn('admins')))).toBe(opens);
    await remove(block.block_id);
    await policy.open(personIn('admins'));
  });

  it('of a person leaves no session that is opened at the same moment', async () => {
    for (let round = 0; round < 5; round++) {
      const openings = Array.from({ length: 6 }, () =>
        policy.open(personIn('admins')).then(
          ({ token }) => token,
          () => undefined,
        ),
      );
      const { block } = await add({ kind: 'user', id: 'ann@acme.example' });
      const [...tokens] = await Promise.all(openings);
      for (const token of tokens) {
        if (token !== undefined) expect(await codeOf(list(token))).toBe('unauthenticated');
      }
      await remove(block.block_id);
    }
  });

  it('by administrators of an organization leaves a platform administrator that role alone; by another one, none', async () => {
    const pat = { ...personIn('admins', 'platform'), email: 'pat@acme.example' };
    const roles = async () => {
      const { token } = await policy.open(pat);
      return (await policy.get(SessionGate).liveSession(token)).personRoles;
    };
    expect(await roles()).toEqual(['administrator', 'platform_administrator']);
    const subject = { kind: 'user', id: 'pat@acme.example' } as const;
    const { block } = await add(subject);
    expect(await roles()).toEqual(['platform_administrator']);
    const root = await policy.open({ ...personIn('admins', 'platform'), email: 'root@acme.example' });
    await add(subject, { token: root.token });
    expect(await codeOf(roles())).toBe('policy_denied');
    // The organization's own administrator would let back in whom the platform keeps out.
    expect(await codeOf(remove(block.block_id))).toBe('policy_denied');
    expect(await codeOf(roles())).toBe('policy_denied');
    await remove(block.block_id, root.token);
    expect(await roles()).toEqual(['administrator', 'platform_administrator']);
  });

  it('of a platform administrator is one whose length, reason and name no organization changes', async () => {
    const pat = { ...personIn('platform'), email: 'pia@acme.example' };
    const subject = { kind: 'user', id: 'pia@acme.example' } as const;
    const opens = () => codeOf(policy.open(pat));
    const root = await policy.open({ ...personIn('admins', 'platform'), email: 'root@acme.example' });
    const rootId = 'spiffe://acme.example/person/root.at.acme.example';
    const timeIsOver = (block_id: string) =>
      policy.database.pool.query(
        'UPDATE policy.blocks SET platform_until = clock_timestamp() WHERE block_id = $1',
        [block_id],
      );

    const { block } = await add(subject, { token: root.token, for_seconds: 600 });
    const own = await add(subject);
    expect(own.block).toMatchObject({ block_id: block.block_id, added_by: rootId });
    expect(own.block).not.toHaveProperty('until');
    expect(await opens()).toBe('policy_denied');
    expect(await codeOf(remove(block.block_id))).toBe('policy_denied');
    // The ten minutes of the platform, not the organization's for ever.
    await timeIsOver(block.block_id);
    expect(await opens()).toBe('ok');
    expect((await add(subject)).block.added_by).toBe('spiffe://acme.example/person/boss.at.acme.example');
    expect(await opens()).toBe('ok');
    expect(await codeOf(remove(block.block_id))).toBe('ok');

    // Nor does the organization's for ever make the platform's ten minutes longer.
    const { block: ours } = await add(subject);
    await add(subject, { token: root.token, for_seconds: 600 });
    const { rows } = await policy.database.pool.query(
      `SELECT until, platform_until BETWEEN now() + interval '9 minutes' AND now() + interval '11 minutes' AS bounded
       FROM policy.blocks WHERE block_id = $1`,
      [ours.block_id],
    );
    expect(rows).toEqual([{ until: null, bounded: true }]);
    expect(await opens()).toBe('policy_denied');
    await add(subject, { token: root.token });
    await add(subject, { token: root.token, for_seconds: 600 });
    expect(await codeOf(remove(ours.block_id))).toBe('policy_denied');
    // As an earlier release stores it.
    await policy.database.pool.query('UPDATE policy.blocks SET platform_until = NULL');
    expect(await opens()).toBe('policy_denied');
    expect(await codeOf(remove(ours.block_id, root.token))).toBe('ok');
  });

  it('of oneself is refused: nobody locks the own door from outside', async () => {
    for (const subject of [
      { kind: 'user', id: 'Boss@acme.example' },
      { kind: 'agent', id: 'spiffe://acme.example/person/boss.at.acme.example' },
    ] as const) {
      expect(await codeOf(add(subject))).toBe('invalid_request');
    }
    expect(await codeOf(list())).toBe('ok');
  });

  it('is in the form of its kind, whatever form it is asked for in', async () => {
    const { token, sessionId } = await policy.open({ ...analyst, on_behalf_of: 'Zo\u00eb@acme.example' });
    for (const subject of [
      { kind: 'session', id: sessionId.toUpperCase() },
      { kind: 'user', id: 'ZOE\u0308@Acme.Example' },
      { kind: 'agent', id: agentOne.replace('spiffe://acme', 'SPIFFE://Acme') },
    ] as const) {
      const { block } = await add(subject);
      expect([subject.kind, await decide(token)]).toEqual([subject.kind, blocked]);
      await remove(block.block_id);
    }
  });

  it('of a name that nothing can have is refused, whoever else has it', async () => {
    for (const subject of [
      { kind: 'agent', id: `${agentOne}/` },
      { kind: 'agent', id: 'spiffe://globex.example/agent/ci/nightly/1' },
      { kind: 'agent', id: 'spiffe://nobody.example/agent/ci/nightly/1' },
      { kind: 'credential', id: 'plans/read' },
      { kind: 'credential', id: 'tool/raed' },
      { kind: 'integration', id: 'plans' },
      { kind: 'user', id: 'ann@acme.example\u200b' },
      { kind: 'session', id: 'no uuid' },
    ] as const) {
      const answer = await codeOf(Promise.resolve().then(() => add(subject)));
      expect([subject.id, answer]).toEqual([
        subject.id,
        expect.stringMatching(/invalid_request|invalid_format|custom/),
      ]);
    }
    expect((await list()).blocks).toEqual([]);
  });

  it('can not be got round by a user name with what nobody sees', async () => {
    const { block } = await add({ kind: 'user', id: 'ann@acme.example' });
    for (const spelled of [
      'Ann@ACME.example',
      'ann@acme.example\u200b',
      'a\u00adnn@acme.example',
      'ann@acme.example\ufe0f',
    ]) {
      const code = await codeOf(policy.open({ ...analyst, on_behalf_of: spelled }));
      expect([spelled, code]).toEqual([spelled, expect.stringMatching(/^(policy_denied|unauthenticated)$/)]);
    }
    await remove(block.block_id);
  });

  it('that waited for nothing lets no decision through that began before and ends after', async () => {
    const { token } = await policy.open({ ...analyst, run: 'racing' });
    const subject = { kind: 'agent', id: 'spiffe://acme.example/agent/ci/nightly/racing' } as const;
    for (let round = 0; round < 5; round++) {
      const early = Array.from({ length: 6 }, () => decide(token));
      const { block, assertion } = await add(subject);
      const fencedAt = (await policy.database.pool.query<{ at: Date }>('SELECT clock_timestamp() AS at'))
        .rows[0];
      expect(await policy.readAssertion(assertion)).toMatchObject({ act: { action: 'fence', subject } });
      for (const answer of await Promise.all(early)) {
        if (answer.decision !== 'allow') continue;
        // Older than any fence that follows the block, so its activation is refused.
        const { granted_at } = await policy.readGrant(answer.grant);
        expect(Date.parse(granted_at)).toBeLessThanOrEqual(fencedAt?.at.getTime() ?? 0);
      }
      expect(await decide(token)).toEqual(blocked);
      await remove(block.block_id);
    }
  });

  it('with a time ends by itself, in decisions at once and with its event at the next sweep', async () => {
    const { token } = await policy.open(analyst);
    const { block } = await add({ kind: 'agent', id: agentOne }, { for_seconds: 3_600 });
    expect(Date.parse(block.until ?? '') - Date.parse(block.added_at)).toBeCloseTo(3_600_000, -2);
    expect(await decide(token)).toEqual(blocked);
    await policy.database.pool.query(
      `UPDATE policy.blocks SET until = now() - interval '1 millisecond' WHERE block_id = $1`,
      [block.block_id],
    );
    expect(await decide(token)).toMatchObject({ decision: 'allow' });
    expect((await list()).blocks).toEqual([]);
    await policy.get(Sweeper).sweep();
    const told = (await policy.outbox()).filter(({ data }) => data.block_id === block.block_id);
    expect(told.map(({ type, data }) => [type, data.outcome])).toEqual([
      ['dev.mayfly.block.added.v1', 'blocked'],
      ['dev.mayfly.block.removed.v1', 'expired'],
    ]);
  });

  it('asked for again keeps its id and never gets shorter', async () => {
    const subject = { kind: 'user', id: 'bob@acme.example' } as const;
    const first = (await add(subject, { for_seconds: 3_600 })).block;
    expect((await add(subject, { for_seconds: 60 })).block).toEqual(first);
    const longer = (await add(subject, { for_seconds: 7_200 })).block;
    expect(longer.block_id).toBe(first.block_id);
    expect(Date.parse(longer.until ?? '')).toBeGreaterThan(Date.parse(first.until ?? ''));
    expect((await add(subject)).block.until).toBeUndefined();
    expect((await add(subject, { for_seconds: 60 })).block.until).toBeUndefined();
    await remove(first.block_id);
    expect(await codeOf(remove(first.block_id))).toBe('not_found');
  });

  it('orders by its event what the assertion asks for at once, anew each time that it is asked for', async () => {
    const subject = { kind: 'user', id: 'mallory@acme.example' } as const;
    const answers: Awaited<ReturnType<typeof add>>[] = [];
    for (const revoke of [true, false, true]) answers.push(await add(subject, { revoke }));
    const ids: (string | undefined)[] = [];
    for (const { assertion } of answers) {
      const { act } = await policy.readAssertion(assertion);
      ids.push(act.action === 'revoke' ? act.revocation_id : undefined);
    }
    expect(ids).toEqual([expect.any(String), undefined, expect.any(String)]);
    expect(ids[2]).not.toBe(ids[0]);
    const told = (await policy.outbox()).filter(({ data }) => data.block_id === answers[0]?.block.block_id);
    expect(told.map(({ data }) => data.revocation_id)).toEqual(ids);
    await remove(answers[0]?.block.block_id ?? '');
  });

  it('is told with who, what and why, and gives the assertion that revokes when asked to', async () => {
    const { block, assertion } = await add({ kind: 'user', id: 'eve@acme.example' }, { revoke: true });
    expect(await policy.readAssertion(assertion)).toMatchObject({
      person_roles: ['administrator'],
      act: { action: 'revoke', subject: block.subject, reason: 'acts strangely' },
    });
    const [event] = (await policy.outbox()).filter(({ data }) => data.block_id === block.block_id);
    expect(event?.data).toMatchObject({
      organization: 'acme',
      agent_id: block.added_by,
      reason: 'acts strangely',
      action_context: { subject: block.subject },
      source_ip: sourceIp,
    });
    await remove(block.block_id);
  });

  it('is for administrators of its own organization alone', async () => {
    const { block } = await add({ kind: 'user', id: 'eve@acme.example' });
    const agent = (await policy.open(analyst)).token;
    const others = [agent];
    for (const group of ['auditors', 'platform']) others.push((await policy.open(personIn(group))).token);
    for (const token of others) {
      expect(await codeOf(add({ kind: 'user', id: 'x' }, { token }))).toBe('policy_denied');
      expect(await codeOf(remove(block.block_id, token))).toBe('policy_denied');
      expect(await codeOf(list(token))).toBe('policy_denied');
    }
    await policy.database.pool.query(
      `INSERT INTO policy.blocks (block_id, organization, subject_kind, subject_id, reason, added_by, added_at)
       VALUES ($1, 'globex', 'user', 'x', 'x', 'x', now())`,
      [randomUUID()],
    );
    expect((await list()).blocks.map(({ block_id }) => block_id)).toEqual([block.block_id]);
    const { rows } = await policy.database.pool.query<{ block_id: string }>(
      `SELECT block_id FROM policy.blocks WHERE organization = 'globex'`,
    );
    expect(await codeOf(remove(rows[0]?.block_id ?? ''))).toBe('not_found');
    await remove(block.block_id);
  });
});
