/** What a trust rule may say, beyond what `parse.spec.ts` tells of documents. */
import { describe, expect, it } from '@jest/globals';
import { parseConfiguration } from './parse.ts';

const rule = (lines: string) => `
organizations: [{ name: acme, trust_domain: acme.example }]
trust:
  - name: ci
    issuer: https://issuer.example
    audience: mayfly
    jwks: file:/keys.json
    as: agent
    agent: { orchestration: ci, task: { claim: [kubernetes.io, pod, name] }, instance: { claim: run } }
${lines}`;
const parsed = (lines: string) => {
  const result = parseConfiguration(rule(lines));
  return result.outcome === 'ok'
    ? result.configuration.trust[0]
    : result.problems.map(({ message }) => message);
};

describe('a trust rule', () => {
  it('names claims by a path or by exact keys', () => {
    expect(parsed('    role: { claim: [https://acme.example/role], allowed: [a] }')).toMatchObject({
      agent: { task: { claim: ['kubernetes.io', 'pod', 'name'] } },
      role: { claim: ['https://acme.example/role'] },
    });
  });

  it.each(['[]', "['']", '[__proto__]', '[1]', `[${'a, '.repeat(17)}]`])(
    'refuses keys that are none: %s',
    (claim) => {
      expect(parsed(`    user: { claim: ${claim} }`)).toHaveLength(1);
    },
  );

  it('takes either name of Ed25519', () => {
    expect(parsed('    algorithms: [Ed25519]')).toMatchObject({ algorithms: ['Ed25519'] });
  });

  it('asks for a recipient key only when it says so', () => {
    expect(parsed('    session_ttl: 1m')).toMatchObject({ requireRecipientKey: false });
    expect(parsed('    require_recipient_key: true')).toMatchObject({ requireRecipientKey: true });
    expect(parsed('    require_recipient_key: yes')).toEqual([expect.stringContaining('true or false')]);
  });
});
