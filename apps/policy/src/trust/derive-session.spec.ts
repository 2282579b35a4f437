import { describe, expect, it } from '@jest/globals';
import type { AgentTrustRule, PersonTrustRule } from '@mayfly/configuration';
import { claimAt, fitsRequirements } from './claims.ts';
import { deriveSession } from './derive-session.ts';

const acme = { id: 'acme', trustDomain: 'acme.example' };
const base = {
  name: 'rule',
  organization: 'acme',
  issuer: 'https://issuer.example',
  audience: 'mayfly',
  jwks: { file: '/keys.json' },
  require: {},
  algorithms: ['EdDSA'],
  sessionTtlSeconds: 3600,
  maxIdentityAgeSeconds: 3600,
  maxSessionsPerIdentity: 200,
  requireRecipientKey: false,
} as const;
const agents: AgentTrustRule = {
  ...base,
  as: 'agent',
  agent: { orchestration: { value: 'ci' }, task: { claim: 'task' }, instance: { claim: 'run.id' } },
  role: { claim: 'role', allowed: ['analyst', 'deployer'] },
  user: { claim: 'on_behalf_of' },
};
const people: PersonTrustRule = {
  ...base,
  as: 'person',
  user: { claim: 'email' },
  personRoles: { claim: 'groups', values: { admins: 'administrator', audit: 'auditor' } },
};
const claims = { task: 'nightly', run: { id: '42' }, role: 'analyst', on_behalf_of: 'ann@acme.example' };

describe('deriveSession', () => {
  it('makes an agent of the claims that its rule names', () => {
    expect(deriveSession(agents, acme, claims)).toEqual({
      outcome: 'derived',
      identity: {
        organization: 'acme',
        agentId: 'spiffe://acme.example/agent/ci/nightly/42',
        kind: 'agent',
        agentRole: 'analyst',
        personRoles: [],
        user: 'ann@acme.example',
        task: 'nightly',
      },
    });
  });

  it('takes whole numbers as parts of a name, and no other number', () => {
    const derived = deriveSession(agents, acme, { ...claims, task: 4711, run: { id: 0 } });
    expect(derived).toMatchObject({
      outcome: 'derived',
      identity: { agentId: 'spiffe://acme.example/agent/ci/4711/0', task: '4711' },
    });
    for (const task of [2 ** 53, 1.5, -1e21, NaN, true, null, ['4711']]) {
      expect(deriveSession(agents, acme, { ...claims, task }).outcome).toBe('refused');
    }
  });

  it.each([
    ['a role that is not allowed', { ...claims, role: 'admin' }],
    ['a role in a list', { ...claims, role: ['analyst'] }],
    ['a missing role', { ...claims, role: undefined }],
    ['a missing task', { ...claims, task: undefined }],
    ['a task that leaves its place in the SPIFFE ID', { ...claims, task: '../../person/root' }],
    ['a task that is an object', { ...claims, task: { toString: 'x' } }],
    ['a user with a line break', { ...claims, on_behalf_of: 'ann\nroot' }],
    ['a user that is no text', { ...claims, on_behalf_of: 7 }],
  ])('gives no session for %s', (_what, wrong) => {
    expect(deriveSession(agents, acme, wrong).outcome).toBe('refused');
  });

  it('opens a session without a user for an agent that acts for nobody', () => {
    const derived = deriveSession(agents, acme, { ...claims, on_behalf_of: undefined });
    expect(derived.outcome === 'derived' && derived.identity).not.toHaveProperty('user');
  });

  it('gives a person just the roles that the rule knows', () => {
    const groups = ['admins', 'admins', 'platform_administrator', 'constructor'];
    const derived = deriveSession(people, acme, { email: 'ann@acme.example', groups });
    expect(derived).toMatchObject({
      outcome: 'derived',
      identity: {
        agentId: 'spiffe://acme.example/person/ann.at.acme.example',
        kind: 'person',
        personRoles: ['administrator'],
      },
    });
    expect(deriveSession(people, acme, { email: 'ann@acme.example' })).toMatchObject({
      identity: { personRoles: [] },
    });
  });
});

describe('claims', () => {
  it('are found by path or by their whole name, never in a prototype', () => {
    expect(claimAt({ a: { b: 1 } }, 'a.b')).toBe(1);
    expect(claimAt({ 'https://acme.example/role': 'x' }, 'https://acme.example/role')).toBe('x');
    expect(claimAt({ a: {} }, 'a.constructor')).toBeUndefined();
    expect(claimAt({ a: ['x'] }, 'a.0')).toBeUndefined();
    expect(claimAt({}, '__proto__.toString')).toBeUndefined();
  });

  it.each([
    ['kubernetes.io.namespace', 'shop'],
    ['kubernetes.io.pod.uid', 'p1'],
    [['kubernetes.io', 'namespace'], 'shop'],
    [['kubernetes', 'io', 'namespace'], 'nested'],
    ['plain.deep.er', 'x'],
    ['plain.deep', 'whole'],
    [['plain', 'deep', 'er'], undefined],
    ['kubernetes.io.node', undefined],
    [['kubernetes.io.namespace'], undefined],
    [['constructor', 'name'], undefined],
  ])('below keys with dots are found, with the longest key first: %j', (path, value) => {
    const nested = {
      'kubernetes.io': { namespace: 'shop', pod: { uid: 'p1' } },
      kubernetes: { io: { namespace: 'nested' } },
      'plain.deep': 'whole',
      plain: { 'deep.er': 'x' },
    };
    expect(claimAt(nested, path)).toBe(value);
  });

  it('cost bounded work, however a path and the claims are written', () => {
    const part = 'a';
    let claims: Record<string, unknown> = {};
    for (let depth = 0; depth < 16; depth++) {
      claims = Object.fromEntries(
        Array.from({ length: 60 }, (_, n) => [
          Array(n + 1)
            .fill(part)
            .join('.'),
          n === 59 ? claims : {},
        ]),
      );
    }
    const started = performance.now();
    expect(claimAt(claims, [...Array<string>(127).fill(part), 'x'].join('.'))).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it('fit requirements exactly and as a whole', () => {
    const required = { kind: 'agent', repository: ['acme/a', 'acme/b'] };
    expect(fitsRequirements({ kind: 'agent', repository: 'acme/b' }, required)).toBe(true);
    expect(fitsRequirements({ kind: 'agent', repository: 'acme/bc' }, required)).toBe(false);
    expect(fitsRequirements({ kind: 'agents', repository: 'acme/b' }, required)).toBe(false);
    expect(fitsRequirements({ kind: ['agent'], repository: 'acme/b' }, required)).toBe(false);
    expect(fitsRequirements({ repository: 'acme/b' }, required)).toBe(false);
    expect(fitsRequirements({ verified: true }, { verified: 'true' })).toBe(true);
  });
});
