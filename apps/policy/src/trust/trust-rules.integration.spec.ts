/** Trust rules against real tokens: what a rule asks for, and what is told of one that admits nobody. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MayflyError } from '@mayfly/contracts';
import { generateSealingKeyPair } from '@mayfly/tokens';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { ExchangeToken } from './exchange-token.ts';

const document = `
organizations: [{ name: acme, trust_domain: acme.example }]
trust:
  - name: pods
    issuer: https://issuer.example
    audience: mayfly
    jwks: ISSUER_KEYS
    require: { kubernetes.io.namespace: shop }
    algorithms: [Ed25519]
    as: agent
    agent:
      orchestration: cluster
      task: { claim: [kubernetes.io, serviceaccount, name] }
      instance: { claim: kubernetes.io.generation }
    require_recipient_key: true
`;
const pod = { 'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'reports' }, generation: 7 } };

let policy: RunningPolicy;
beforeAll(async () => {
  policy = await runPolicy(document);
});
afterAll(() => policy.stop());

const attempt = async (claims: Record<string, unknown>, options = {}) =>
  policy
    .get(ExchangeToken)
    .run({
      subject_token: await policy.seal(await policy.identity(claims, options)),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    })
    .then(
      () => 'ok',
      (error: unknown) => (error instanceof MayflyError ? error.code : String(error)),
    );
const lastReason = () => policy.signals.at(-1)?.data.reason;

describe('a trust rule', () => {
  it('reads claims below keys with dots, takes whole numbers, and Ed25519 for EdDSA', async () => {
    await policy.open(pod, await generateSealingKeyPair());
    const [opened] = (await policy.outbox()).filter(({ type }) => type === 'dev.mayfly.session.opened.v1');
    expect(opened?.data.agent_id).toBe('spiffe://acme.example/agent/cluster/reports/7');
  });

  it('that requires a recipient key opens no session without one, and audit is told', async () => {
    const opened = (await policy.outbox()).length;
    expect(await attempt(pod)).toBe('invalid_request');
    expect(policy.signals.at(-1)).toMatchObject({
      type: 'dev.mayfly.session.rejected.v1',
      data: { organization: 'acme', reason: expect.stringContaining('pods requires a recipient key') },
    });
    expect(await policy.outbox()).toHaveLength(opened);
  });

  it('that admits nobody is named by the first thing that failed', async () => {
    expect(await attempt(pod, { issuer: 'https://evil.example' })).toBe('unauthenticated');
    expect(lastReason()).toContain('issuer');
    expect(await attempt(pod, { audience: 'other' })).toBe('unauthenticated');
    expect(lastReason()).toContain('audience');
    expect(await attempt({ 'kubernetes.io': { namespace: 'other' } })).toBe('unauthenticated');
    expect(lastReason()).toContain('pods requires kubernetes.io.namespace');
    // Wrong in all three: the issuer comes first, though the old order began with what is required.
    expect(await attempt({ other: 1 }, { issuer: 'https://evil.example', audience: 'other' })).toBe(
      'unauthenticated',
    );
    expect(lastReason()).toContain('issuer');
  });
});
