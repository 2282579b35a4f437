import { describe, expect, it } from '@jest/globals';
import type { Act, PersonRole } from '@mayfly/contracts';
import { authorizeAct } from './authorize-act.ts';

const lease = '018f0000-0000-7000-8000-000000000001';
const own = '018f0000-0000-7000-8000-000000000002';
const agent = { id: own, organization: 'acme', kind: 'agent', personRoles: [] } as const;
const person = (...personRoles: PersonRole[]) => ({ ...agent, kind: 'person', personRoles }) as const;
const revoke = (kind: 'organization' | 'agent', id: string): Act => ({
  action: 'revoke',
  subject: { kind, id },
  reason: 'leaked',
});

describe('authorizeAct', () => {
  it.each<Act>([
    { action: 'list_leases' },
    { action: 'read_lease', lease_id: lease },
    { action: 'end_lease', lease_id: lease, reason: 'done' },
    { action: 'report_use', lease_id: lease },
  ])('lets every session ask revocation to $action', (act) => {
    expect(authorizeAct(agent, act)).toEqual({ outcome: 'authorized', audience: ['mayfly-revocation'] });
  });

  it('names both services that answer an introspection', () => {
    expect(authorizeAct(agent, { action: 'introspect' })).toEqual({
      outcome: 'authorized',
      audience: ['mayfly-minting', 'mayfly-revocation'],
    });
  });

  it('lets a session end itself and no other', () => {
    expect(authorizeAct(agent, { action: 'end_session', session_id: own }).outcome).toBe('authorized');
    expect(authorizeAct(agent, { action: 'end_session', session_id: lease }).outcome).toBe('denied');
  });

  it.each<[string, Parameters<typeof authorizeAct>[0], Act, boolean]>([
    ['an agent may not revoke', agent, revoke('agent', 'x'), false],
    [
      'an agent whose row claims a role may not revoke',
      { ...agent, personRoles: ['administrator'] },
      revoke('agent', 'x'),
      false,
    ],
    ['an auditor may not revoke', person('auditor'), revoke('agent', 'x'), false],
    ['an administrator may revoke', person('administrator'), revoke('agent', 'x'), true],
    [
      'an administrator may revoke the own organization',
      person('administrator'),
      revoke('organization', 'acme'),
      true,
    ],
    [
      'I5: an administrator may not revoke another organization',
      person('administrator'),
      revoke('organization', 'globex'),
      false,
    ],
    [
      'an administrator may revoke the own organization without naming it',
      person('administrator'),
      { action: 'revoke', subject: { kind: 'organization' }, reason: 'leaked' },
      true,
    ],
    [
      'an administrator may not revoke everything',
      person('administrator'),
      { action: 'revoke', subject: { kind: 'everything' }, reason: 'leaked' },
      false,
    ],
    [
      'a platform administrator may revoke everything',
      person('platform_administrator'),
      { action: 'revoke', subject: { kind: 'everything' }, reason: 'leaked' },
      true,
    ],
    [
      'a platform administrator may not revoke within an organization',
      person('platform_administrator'),
      revoke('agent', 'x'),
      false,
    ],
    ['an agent may not see revocations', agent, { action: 'list_revocations' }, false],
    ['an auditor may not see revocations', person('auditor'), { action: 'list_revocations' }, false],
    [
      'an administrator may see revocations',
      person('administrator'),
      { action: 'read_revocation', revocation_id: lease },
      true,
    ],
    ['an agent may not read the audit log', agent, { action: 'read_audit' }, false],
    ['a person without a role may not read the audit log', person(), { action: 'read_audit' }, false],
    [
      'a platform administrator may not read the audit log',
      person('platform_administrator'),
      { action: 'read_audit' },
      false,
    ],
    ['an auditor may read the audit log', person('auditor'), { action: 'read_audit' }, true],
    ['an administrator may read the audit log', person('administrator'), { action: 'read_audit' }, true],
  ])('%s', (_name, session, act, allowed) => {
    expect(authorizeAct(session, act).outcome).toBe(allowed ? 'authorized' : 'denied');
  });
});
