import { describe, expect, it } from '@jest/globals';
import { parseConfiguration, PolicyEvaluator } from '@mayfly/configuration';
import fc from 'fast-check';
import type { Session } from '../sessions/session.ts';
import { decideRequest, type CredentialRequest } from './decide-request.ts';

const document = `
organizations:
  - { name: acme, trust_domain: acme.example, secret_references: ['env:ACME_'] }
  - { name: globex, trust_domain: globex.example, secret_references: ['env:GLOBEX_'] }
trust:
  - name: agents
    organization: acme
    issuer: https://issuer.example
    audience: mayfly
    jwks: https://issuer.example/jwks
    as: agent
    agent: { orchestration: ci, task: { claim: task }, instance: { claim: run } }
    role: { claim: role, allowed: [analyst, writer] }
integrations:
  - { name: tool, organization: acme, provider: jwt, audience: 'https://tool.acme.example' }
  - { name: secret-tool, organization: globex, provider: jwt, audience: 'https://tool.globex.example' }
credentials:
  - name: tool/read
    organization: acme
    roles: [analyst]
    scope: { scopes: ['read:orders:*', 'list:orders:*'] }
    ttl: { default: 5m, max: 15m }
  - name: tool/write
    organization: acme
    roles: [writer]
    scope: { scopes: ['write:orders:*'] }
  - name: tool/write-freely
    organization: acme
    roles: [writer]
    approval: off
    scope: { scopes: ['write:orders:*'] }
  - name: secret-tool/read
    organization: globex
    scope: { scopes: ['read:plans:*'] }
policies: |
  forbid (principal, action == Action::"mint", resource in Integration::"tool")
  when { context.source_ip.isInRange(ip("203.0.113.0/24")) };
`;

const parsed = parseConfiguration(document);
if (parsed.outcome === 'rejected') throw new Error(JSON.stringify(parsed.problems));
const { configuration } = parsed;
const running = { configuration, evaluator: PolicyEvaluator.compile(configuration) };
const now = new Date('2026-11-20T12:00:00Z');
const session: Session = {
  id: '018f0000-0000-7000-8000-000000000001',
  organization: 'acme',
  agentId: 'spiffe://acme.example/agent/ci/nightly/1',
  kind: 'agent',
  agentRole: 'analyst',
  personRoles: [],
  expiresAt: new Date(now.getTime() + 3_600_000),
};
const ask = (request: Partial<CredentialRequest>, who: Partial<Session> = {}) =>
  decideRequest(
    { credential: 'tool/read', sourceIp: '192.0.2.1', ...request },
    { ...session, ...who },
    running,
    now,
  );

describe('decideRequest', () => {
  it('allows what a role permits, with the bounds and the default TTL', () => {
    expect(ask({})).toMatchObject({
      decision: 'allow',
      scope: { scopes: ['read:orders:*', 'list:orders:*'] },
      ttlSeconds: 300,
      policyIds: ['roles:tool/read'],
    });
  });

  it('cuts the TTL at the end of the session and says so', () => {
    expect(ask({ ttlSeconds: 600 }, { expiresAt: new Date(now.getTime() + 90_500) })).toMatchObject({
      decision: 'allow',
      ttlSeconds: 90,
      ttlAdjusted: { requestedSeconds: 600, reason: 'the session ends before' },
    });
  });

  it.each<[string, Partial<CredentialRequest>, Partial<Session>, string, RegExp]>([
    [
      'an unknown credential',
      { credential: 'tool/nothing' },
      {},
      'not_found',
      /^no credential tool\/nothing/,
    ],
    ['what is no name', { credential: '\'; DROP TABLE "x' }, {}, 'not_found', /^no credential/],
    [
      'a role that may not',
      {},
      { agentRole: 'writer' },
      'policy_denied',
      /^no policy permits writer to mint tool\/read$/,
    ],
    [
      'an address that a policy forbids',
      { sourceIp: '203.0.113.9' },
      {},
      'policy_denied',
      /^no policy permits analyst/,
    ],
    ['a person', {}, { kind: 'person', personRoles: ['administrator'] }, 'policy_denied', /not for people/],
    ['a wider scope', { scope: { scopes: ['write:orders:1'] } }, {}, 'scope_exceeded', /write:orders:1/],
    ['a scope of another form', { scope: { tables: ['x'] } }, {}, 'invalid_request', /scope/],
    ['a TTL beyond the maximum', { ttlSeconds: 901 }, {}, 'ttl_exceeded', /at most 900 seconds/],
    [
      'what needs approval',
      { credential: 'tool/write' },
      { agentRole: 'writer' },
      'policy_denied',
      /needs approval/,
    ],
  ])('refuses %s', (_what, request, who, code, reason) => {
    const decision = ask(request, who);
    expect(decision).toMatchObject({ decision: 'deny', code });
    expect(decision.decision === 'deny' && decision.reason).toMatch(reason);
  });

  it('needs no approval where the configuration says that it is off', () => {
    expect(ask({ credential: 'tool/write-freely' }, { agentRole: 'writer' }).decision).toBe('allow');
  });

  it("I5: another organization's credential is refused in the very words for one that does not exist", () => {
    const foreign = ask({ credential: 'secret-tool/read', scope: { scopes: ['x:y:z'] }, ttlSeconds: 9_999 });
    const absent = ask({ credential: 'secret-tool/none', scope: { scopes: ['x:y:z'] }, ttlSeconds: 9_999 });
    const plain = JSON.stringify(foreign).replaceAll('secret-tool/read', 'secret-tool/none');
    expect(plain).toBe(JSON.stringify(absent));
  });

  it('I4: scope and TTL of whatever is allowed are within request, bounds and session', () => {
    const part = fc.constantFrom('read', 'list', 'write', 'orders', 'plans', '*', '1', '2');
    const scope = fc.tuple(part, part, part).map((parts) => parts.join(':'));
    fc.assert(
      fc.property(
        fc.option(fc.uniqueArray(scope, { minLength: 1, maxLength: 4 }), { nil: undefined }),
        fc.option(fc.integer({ min: 1, max: 4_000 }), { nil: undefined }),
        fc.integer({ min: -10, max: 4_000 }),
        (scopes, ttlSeconds, remaining) => {
          const decision = ask(
            {
              ...(scopes === undefined ? {} : { scope: { scopes } }),
              ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
            },
            { expiresAt: new Date(now.getTime() + remaining * 1000) },
          );
          if (decision.decision !== 'allow') return;
          expect(decision.ttlSeconds).toBeLessThanOrEqual(
            Math.min(ttlSeconds ?? 300, 900, Math.max(1, remaining)),
          );
          const allowed = decision.scope['scopes'] as string[];
          expect(allowed.every((item) => /^(?:read|list):orders:/.test(item))).toBe(true);
          if (scopes !== undefined) expect(allowed.every((item) => scopes.includes(item))).toBe(true);
        },
      ),
    );
  });
});
