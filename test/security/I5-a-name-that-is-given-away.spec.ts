/**
 * I5: nothing crosses organizations, not by a name either. An organization is removed and its name given to others, who must find
 * nothing of the first: no session, lease, block, revocation or event; and whoever had authority by the first document has none.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Refused, waitUntil, type AgentApi } from '@mayfly/stack';
import { agentClaims, openSession, personClaims, startWholeStack, type TestStack } from '@mayfly/testing';

const within = { deadlineMs: 30_000 };
let stack: TestStack;
beforeAll(async () => {
  stack = await startWholeStack();
}, 120_000);
afterAll(() => stack.stop());

const codeOf = (ask: Promise<unknown>) =>
  ask.then(
    () => 'ok',
    (error: unknown) => (error instanceof Refused ? error.problem.code : String(error)),
  );
const person = (org: string, group: string) =>
  openSession(stack, personClaims([group], { org, email: `${group}-${randomUUID()}@example.com` }));
const apply = async (document: string) => {
  const platform = await person('acme', 'platform-administrators');
  return platform.call('PUT', '/v1/config', { document, end_leases: true });
};

describe('I5: the name of an organization that is given to others', () => {
  let original: string;
  /** The organization globex is called initech now. */
  const renamed = () =>
    original
      .replace('- name: globex\n', '- name: initech\n')
      .replaceAll('organization: globex', 'organization: initech');

  beforeAll(async () => {
    const platform = await person('acme', 'platform-administrators');
    ({ document: original } = (await platform.call('GET', '/v1/config')) as { document: string });
  });

  it('gives nothing of the first away', async () => {
    const agent = await openSession(stack, agentClaims({ org: 'globex' }));
    const administrator = await person('globex', 'administrators');
    const auditor = await person('globex', 'auditors');
    const lease = await agent.postgresLease('orders-db/readonly');
    await administrator.call('POST', '/v1/blocks', { subject: { kind: 'user', id: 'eve' }, reason: 'test' });
    const events = async (who: AgentApi) =>
      ((await who.call('GET', '/v1/audit/events?limit=1000')) as { events: { organization?: string }[] })
        .events;
    await waitUntil('recording it', async () => (await events(auditor)).length > 3, within);

    expect(await apply(renamed())).toMatchObject({ outcome: 'applied' });
    for (const [ask, who] of [
      [() => agent.lease('orders-db/readonly'), 'an agent mints'],
      [() => administrator.call('GET', '/v1/leases'), 'an administrator reads'],
      [() => administrator.call('DELETE', `/v1/leases/${lease.lease_id}`), 'an administrator ends'],
      [() => auditor.call('GET', '/v1/audit/events'), 'an auditor reads'],
    ] as const) {
      expect([who, await codeOf(ask())]).toEqual([who, 'unauthenticated']);
    }

    expect(await apply(original)).toMatchObject({ outcome: 'applied' });
    // Of the first there is nothing to be seen by the second, whatever is asked for.
    const [next, nextAuditor] = await Promise.all([
      person('globex', 'administrators'),
      person('globex', 'auditors'),
    ]);
    expect(await next.call('GET', '/v1/leases?state=all')).toEqual({ leases: [] });
    expect(await next.call('GET', '/v1/blocks')).toEqual({ blocks: [] });
    expect(await next.call('GET', '/v1/revocations')).toEqual({ revocations: [] });
    expect(await codeOf(next.call('GET', `/v1/leases/${lease.lease_id}`))).toBe('not_found');
    expect(await codeOf(next.call('DELETE', `/v1/leases/${lease.lease_id}`))).toBe('not_found');
    expect(await codeOf(next.call('POST', `/v1/sessions/${agent.sessionId}/close`, { reason: 'x' }))).toBe(
      'not_found',
    );
    expect(await codeOf(nextAuditor.call('GET', `/v1/audit/leases/${lease.lease_id}`))).toBe('not_found');
    await waitUntil('recording its own', async () => (await events(nextAuditor)).length > 0, within);
    expect(new Set((await events(nextAuditor)).map(({ organization }) => organization))).toEqual(
      new Set(['globex.2']),
    );
    // Nor does the first come back.
    expect(await codeOf(administrator.call('GET', '/v1/leases'))).toBe('unauthenticated');
    // It works as any other organization does.
    const again = await openSession(stack, agentClaims({ org: 'globex' }));
    await again.postgresLease('orders-db/readonly');
    expect(await again.leases()).toMatchObject([{ state: 'active' }]);
    expect(
      await next.call('POST', '/v1/revocations', {
        subject: { kind: 'organization', id: 'globex' },
        reason: 'x',
      }),
    ).toMatchObject({ matched: 1 });
  }, 120_000);
});

describe('I11: a session that an administrator ends', () => {
  it('is refused at once, and its leases end', async () => {
    const agent = await openSession(stack, agentClaims());
    const other = await person('acme', 'auditors');
    const lease = await agent.postgresLease('orders-db/readonly');
    const administrator = await person('acme', 'administrators');
    const close = (id: string) =>
      administrator.call('POST', `/v1/sessions/${id.toUpperCase()}/close`, { reason: 'left us' });
    expect(await close(agent.sessionId)).toEqual({ session_id: agent.sessionId, closed: true, matched: 1 });
    expect(await close(other.sessionId)).toMatchObject({ closed: true, matched: 0 });
    expect(await codeOf(agent.lease('orders-db/readonly'))).toBe('unauthenticated');
    expect(await codeOf(other.call('GET', '/v1/audit/events'))).toBe('unauthenticated');
    await waitUntil(
      'ending it',
      async () =>
        ((await administrator.call('GET', `/v1/leases/${lease.lease_id}`)) as { state: string }).state ===
        'revoked',
      within,
    );
  }, 60_000);
});
