import { describe, expect, it } from '@jest/globals';
import { namedOrganizations } from './named-organizations.ts';
import { parseConfiguration } from './parse.ts';

const base = `
organizations:
  - { name: acme, trust_domain: acme.example }
  - { name: globex, trust_domain: globex.example }
trust:
  - name: agents
    organization: acme
    issuer: https://issuer.example
    audience: https://mayfly.example
    jwks: file:/keys.json
    as: agent
    agent: { orchestration: ci, task: { claim: task }, instance: { claim: run } }
    role: analyst
integrations:
  - { name: tool, organization: acme, provider: jwt, audience: 'https://tool.example' }
  - { name: tool, organization: globex, provider: jwt, audience: 'AUDIENCE' }
credentials:
  - { name: tool/read, organization: acme, roles: [analyst], scope: { scopes: ['read:a:b'] } }
  - { name: tool/read, organization: globex, scope: { scopes: ['read:a:b'] } }
`;
const withAudience = (audience: string) => base.replace('AUDIENCE', audience);
const problemsOf = (document: string) => {
  const parsed = parseConfiguration(document);
  return parsed.outcome === 'ok' ? [] : parsed.problems.map(({ path, message }) => `${path}: ${message}`);
};

describe('the audience of a tool', () => {
  it.each([
    'https://tool.example',
    'https://tool.example/',
    'HTTPS://Tool.Example',
    'https://tool.example:443/',
    'https://tool.example//',
  ])('belongs to one organization: %s is taken', (audience) => {
    expect(problemsOf(withAudience(audience))).toEqual([
      expect.stringMatching(/^integrations\[1\]\.audience: .*organization "acme"/),
    ]);
  });

  it('may be the same for several integrations of one organization, and another for another', () => {
    expect(problemsOf(withAudience('https://tool.globex.example'))).toEqual([]);
    const own = withAudience('https://tool.globex.example').replace(
      'credentials:',
      "  - { name: tool-2, organization: acme, provider: jwt, audience: 'https://tool.example/' }\ncredentials:",
    );
    expect(problemsOf(own)).toEqual([]);
  });

  it.each(['https://MAYFLY.example/', 'https://mayfly.example'])(
    'is none that opens sessions, however it is written: %s',
    (audience) => {
      expect(problemsOf(withAudience(audience))).toEqual([expect.stringMatching(/the tool’s own/)]);
    },
  );

  it('hides nothing', () => {
    expect(problemsOf(withAudience('https://tool.globex.example\u200b'))[0]).toMatch(/cannot be seen/);
  });

  it('that an earlier release let two share is the first one’s, and the other’s credentials are left out and told', () => {
    const parsed = parseConfiguration(withAudience('https://tool.example/'), { stored: true });
    if (parsed.outcome !== 'ok') throw new Error(JSON.stringify(parsed.problems));
    expect(parsed.configuration.credential('acme', 'tool/read')).toBeDefined();
    expect(parsed.configuration.credential('globex', 'tool/read')).toBeUndefined();
    expect(parsed.leftOut).toMatchObject([{ path: 'integrations[1].audience' }]);
  });
});

describe('an identity token', () => {
  const rule = (more: string) =>
    withAudience('https://other.example').replace('    role: analyst\n', `    role: analyst\n${more}`);
  const terms = (document: string) => {
    const parsed = parseConfiguration(document);
    if (parsed.outcome !== 'ok') return parsed.problems.map(({ path }) => path);
    const [{ maxIdentityAgeSeconds, maxSessionsPerIdentity } = { maxIdentityAgeSeconds: 0 }] =
      parsed.configuration.trust;
    return [maxIdentityAgeSeconds, maxSessionsPerIdentity];
  };

  it('opens sessions for an hour and 200 of them, or as its rule says', () => {
    expect(terms(rule(''))).toEqual([3600, 200]);
    expect(terms(rule('    max_identity_age: 24h\n    max_sessions_per_identity: 1\n'))).toEqual([86_400, 1]);
    expect(terms(rule('    max_identity_age: 25h\n'))).toEqual(['trust[0].max_identity_age']);
    expect(terms(rule('    max_sessions_per_identity: 0\n'))).toEqual(['trust[0].max_sessions_per_identity']);
  });
});

describe('a policy that names a user or an agent', () => {
  const policy = (condition: string) =>
    withAudience('https://other.example') +
    `policies: |\n  forbid (principal, action, resource) when { ${condition} };\n`;
  it.each([
    ['principal has user && principal.user == "Ada@example.com"', /write "ada@example\.com"/],
    ['principal has user && "ADA" == principal.user', /write "ada"/],
    ['principal has user && ["ada", "Bob"].contains(principal.user)', /write "bob"/],
    ['principal has user && principal.user like "*@Example.com"', /"@example\.com"/],
    ['principal.agent_id == "spiffe://acme.example/agent/ci/build/1/"', /slash/],
    ['principal == Agent::"spiffe://Acme.example/agent/ci/build/1"', /spiffe:\/\/acme/],
  ])('in a form that nobody has is refused: %s', (condition, problem) => {
    expect(problemsOf(policy(condition))).toEqual([expect.stringMatching(problem)]);
  });

  it.each([
    'principal has user && principal.user == "ada@example.com"',
    'principal has user && ["ada", "bob"].contains(principal.user)',
    'principal has user && principal.user like "*@example.com"',
    'principal.agent_id == "spiffe://acme.example/agent/ci/Build/1"',
    'principal has task && principal.task == "Nightly"',
  ])('in the form that they have is taken: %s', (condition) => {
    expect(problemsOf(policy(condition))).toEqual([]);
  });
});

describe('the organizations of a document', () => {
  it('are read whatever is wrong with the rest', () => {
    expect(namedOrganizations(`${withAudience('x')}nonsense: [`)).toBeUndefined();
    expect(namedOrganizations('from: a later release')).toBeUndefined();
    expect(namedOrganizations(`${withAudience('x')}nonsense: 1\n`)).toEqual([
      { name: 'acme', trustDomain: 'acme.example' },
      { name: 'globex', trustDomain: 'globex.example' },
    ]);
    expect(
      namedOrganizations('organizations: [1, { name: a }, { name: b, trust_domain: b.example }]'),
    ).toEqual([{ name: 'b', trustDomain: 'b.example' }]);
  });
});
