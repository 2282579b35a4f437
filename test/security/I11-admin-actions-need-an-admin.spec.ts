/** I11: admin actions need an admin. Approval, which the asker's own user must not give, comes with requests. */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { Refused } from '@mayfly/stack';
import { agentClaims, openSession, personClaims, wholeStack } from '@mayfly/testing';

const id = randomUUID();
const subject = { kind: 'user', id: 'nobody@example.com' };

/** What each administrative call is asked with, by its name in the contracts; and who may make it. */
const calls: Record<string, { body?: object; path?: string; by: string[] }> = {
  revoke: { body: { subject, reason: 'test' }, by: ['administrators'] },
  getRevocation: { path: `/v1/revocations/${id}`, by: ['administrators', 'platform-administrators'] },
  listRevocations: { by: ['administrators', 'platform-administrators'] },
  addBlock: { body: { subject, reason: 'test', for_seconds: 1 }, by: ['administrators'] },
  removeBlock: { path: `/v1/blocks/${id}`, by: ['administrators'] },
  listBlocks: { by: ['administrators'] },
  listSessions: { by: ['administrators'] },
  closeSession: { path: `/v1/sessions/${id}/close`, body: { reason: 'test' }, by: ['administrators'] },
  putConfig: {
    body: { document: 'organizations: []', expected_version: 1_000_000 },
    by: ['platform-administrators'],
  },
  getConfig: { by: ['platform-administrators'] },
  listConfigVersions: { by: ['platform-administrators'] },
  queryAudit: { path: '/v1/audit/events', by: ['administrators', 'auditors'] },
  auditLease: { path: `/v1/audit/leases/${id}`, by: ['administrators', 'auditors'] },
};

const groups = ['administrators', 'platform-administrators', 'auditors'];

const askers: [string, Record<string, unknown>][] = [
  ['an agent', agentClaims()],
  ['an agent that says it is in every group', agentClaims({ groups })],
  ['a person without a role', personClaims([])],
  ...groups.map((group): [string, Record<string, unknown>] => [group, personClaims([group])]),
];

describe('I11: an administrative call', () => {
  it('is known to this test, each of them', () => {
    expect(Object.keys(calls).sort()).toEqual(Object.keys(http.administration).sort());
  });

  it.each(askers)('by %s is let through only where the role may make it', async (asker, claims) => {
    const session = await openSession(wholeStack(), claims);
    const refused = Object.entries(http.administration).map(async ([name, { http: route }]) => {
      const { body, path = route.path } = calls[name] ?? {};
      const answer: unknown = await session.call(route.method, path, body).catch((error: unknown) => error);
      return [name, answer instanceof Refused && answer.problem.code === 'policy_denied'] as const;
    });
    const expected = Object.entries(calls).map(([name, { by }]) => [name, !by.includes(asker)]);
    expect(Object.fromEntries(await Promise.all(refused))).toEqual(Object.fromEntries(expected));
  });
});
