import { describe, expect, it } from '@jest/globals';
import { parseConfiguration, PolicyEvaluator } from '@mayfly/configuration';
import type { Session } from '../sessions/session.ts';
import { decideRenewalRequest } from './decide-renewal-request.ts';

const parsed = parseConfiguration(`
organizations:
  - { name: acme, trust_domain: acme.example, secret_references: ['env:ACME_'] }
integrations:
  - { name: tool, organization: acme, provider: jwt, audience: 'https://tool.acme.example' }
credentials:
  - name: tool/read
    organization: acme
    roles: [analyst]
    scope: { scopes: ['read:orders:*'] }
    ttl: { default: 5m, max: 15m }
    renewal: { max_life: 1h }
policies: |
  forbid (principal, action == Action::"mint", resource in Integration::"tool")
  when { context.ttl_seconds > 300 };
`);
if (parsed.outcome === 'rejected') throw new Error(JSON.stringify(parsed.problems));
const { configuration } = parsed;
const running = { configuration, evaluator: PolicyEvaluator.compile(configuration) };
const now = new Date('2026-11-20T12:00:00Z');
const inSeconds = (seconds: number) => new Date(now.getTime() + seconds * 1000);
const lease = {
  leaseId: '018f0000-0000-7000-8000-000000000009',
  credential: 'tool/read',
  startedAt: inSeconds(-60),
  renewals: 0,
  ttlSeconds: 120,
  scope: { scopes: ['read:orders:*'] },
};

/** The asking session ends after `asking` seconds, the one that the lease was granted in after `own`. */
const renew = (ttlSeconds: number, { asking, own }: { asking: number; own: number }) => {
  const session: Session = {
    id: '018f0000-0000-7000-8000-000000000001',
    organization: 'acme',
    agentId: 'spiffe://acme.example/agent/ci/nightly/1',
    kind: 'agent',
    agentRole: 'analyst',
    personRoles: [],
    expiresAt: inSeconds(asking),
  };
  const request = { credential: 'tool/read', ttlSeconds, scope: lease.scope, sourceIp: '192.0.2.1' };
  return decideRenewalRequest(request, lease, session, running, { now, sessionExpiresAt: inSeconds(own) });
};

describe('decideRenewalRequest', () => {
  it('lets policies judge the TTL that is granted, not one cut at the end of the session that asks', () => {
    expect(renew(900, { asking: 60, own: 3_000 })).toMatchObject({
      decision: 'deny',
      code: 'policy_denied',
    });
  });

  it('is not denied for a TTL that the lease’s own session cuts to what policies permit', () => {
    expect(renew(900, { asking: 3_000, own: 200 })).toMatchObject({
      decision: 'allow',
      allowed: { ttlSeconds: 200 },
      granted: { ttlSeconds: 200 },
    });
  });

  it('grants no other TTL than the one that was judged', () => {
    for (const [asking, own] of [
      [30, 250],
      [250, 30],
      [3_000, 3_000],
    ] as const) {
      const decision = renew(300, { asking, own });
      if (decision.decision === 'deny') throw new Error(decision.reason);
      expect(decision.allowed.ttlSeconds).toBe(decision.granted.ttlSeconds);
    }
  });
});
