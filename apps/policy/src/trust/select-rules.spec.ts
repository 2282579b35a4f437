import { describe, expect, it } from '@jest/globals';
import type { TrustRule } from '@mayfly/configuration';
import { selectRules } from './select-rules.ts';

const rule = (name: string, changes: Partial<TrustRule> = {}): TrustRule =>
  ({
    name,
    organization: 'acme',
    issuer: 'https://ci.example',
    audience: 'mayfly',
    jwks: { file: '/keys.json' },
    require: {},
    algorithms: ['EdDSA'],
    sessionTtlSeconds: 3600,
    requireRecipientKey: false,
    as: 'agent',
    agent: { orchestration: { value: 'ci' }, task: { claim: 'task' }, instance: { claim: 'run' } },
    ...changes,
  }) as TrustRule;

const rules = [
  rule('shop', { require: { repository: 'acme/shop', ref: ['main', 'next'] } }),
  rule('docs', { require: { repository: 'acme/docs' } }),
  rule('elsewhere', { issuer: 'https://other.example', require: { repository: 'acme/shop', ref: 'main' } }),
  rule('staging', { audience: 'mayfly-staging' }),
];
const claims = { iss: 'https://ci.example', aud: 'mayfly', repository: 'acme/shop', ref: 'main' };
const named = (given: Record<string, unknown>) => {
  const selection = selectRules(rules, given);
  return selection.outcome === 'selected' ? selection.rules.map(({ name }) => name) : selection.failed;
};

describe('selectRules', () => {
  it('selects by issuer, then audience, then what is required', () => {
    expect(named(claims)).toEqual(['shop']);
    expect(named({ ...claims, repository: 'acme/docs' })).toEqual(['docs']);
    expect(named({ ...claims, aud: ['other', 'mayfly-staging'] })).toEqual(['staging']);
    expect(named({ ...claims, aud: ['mayfly', 'mayfly-staging'] })).toEqual(['shop', 'staging']);
  });

  it.each([
    ['issuer', { ...claims, iss: 'https://evil.example' }],
    ['issuer', { ...claims, iss: ['https://ci.example'] }],
    ['issuer', {}],
    // What is required fits at another issuer: that must not be what is told.
    ['audience', { ...claims, iss: 'https://other.example', aud: 'other' }],
    ['audience', { ...claims, aud: undefined }],
    ['require', { ...claims, ref: 'topic' }],
    ['require', { ...claims, repository: 'acme/shop/x' }],
  ])('names the first that failed: %s', (failed, given) => {
    expect(named(given)).toBe(failed);
  });

  it('tells auditors which claim of which rule, and of a stranger no more than a line', () => {
    expect(selectRules(rules, { ...claims, ref: 'topic' })).toMatchObject({
      why: expect.stringMatching(/shop requires ref, docs requires repository/),
    });
    const long = selectRules(rules, { iss: `x\n${'y'.repeat(10_000)}` });
    expect(long.outcome === 'none' && long.why.length).toBeLessThan(300);
    expect(long.outcome === 'none' && long.why).not.toContain('\n');
    const many = Array.from({ length: 100 }, (_, n) => rule(`r${n}`, { require: { a: 'b' } }));
    const refused = selectRules(many, claims);
    expect(refused.outcome === 'none' && refused.why).toContain('…');
  });
});
