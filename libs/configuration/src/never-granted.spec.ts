/** What nobody can ever get is told as a warning, where it stands; what somebody may get is not. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { parseConfiguration } from './parse.ts';

const credential = (more: string) => `  - name: db/read
    scope: { scopes: ['read:a:b'] }
${more}`;
const agents = (organization: string, role = '') => `  - name: agents-${organization}
    organization: ${organization}
    issuer: https://issuer.example
    audience: ${organization}
    jwks: https://issuer.example/jwks.json
    require: { org: ${organization} }
    as: agent
    agent: { orchestration: ci, task: { claim: task }, instance: { claim: run } }
${role}`;
const document = (
  credentialMore: string,
  more = '',
  trust = agents('acme', '    role: analyst\n'),
) => `organizations:
  - { name: acme, trust_domain: acme.example }
  - { name: globex, trust_domain: globex.example }
trust:
${trust}integrations:
  - { name: db, organization: acme, provider: jwt, audience: https://db.example }
credentials:
${credential(`    organization: acme\n${credentialMore}`)}${more}`;

const warningsOf = (text: string) => {
  const parsed = parseConfiguration(text);
  if (parsed.outcome !== 'ok') throw new Error(JSON.stringify(parsed.problems));
  return parsed.warnings;
};
const policies = (...texts: string[]) => `policies: |\n${texts.map((text) => `  ${text}\n`).join('')}`;

describe('a credential that can never be granted is a warning', () => {
  it.each([
    ['nobody may ask for it', document(''), 'nobody may ask for it; list agent roles under "roles"'],
    [
      'it needs approval, for which there is no way',
      document('    roles: [analyst]\n    approval: required\n'),
      'it needs approval, which this version cannot ask for; say "approval: off"',
    ],
    [
      'it writes and says nothing of approval',
      document('    roles: [analyst]\n').replace('read:a:b', 'write:a:b'),
      'it writes, so it needs approval, which this version cannot ask for; say "approval: off"',
    ],
    [
      'no agents are admitted in its organization',
      document('    roles: [analyst]\n', '', agents('globex', '    role: analyst\n')),
      'no trust rule admits agents of the organization "acme"',
    ],
    [
      'no rule gives the role',
      document('    roles: [analyst]\n', '', agents('acme')),
      'no trust rule gives any of its roles',
    ],
    [
      'it is permitted to people alone',
      document('', policies('permit (principal is Person, action, resource == Credential::"db/read");')),
      'nobody may ask for it',
    ],
    [
      'it is permitted to a role of another organization alone',
      document(
        '',
        policies('permit (principal in Role::"deployer", action, resource == Credential::"db/read");'),
        agents('acme', '    role: analyst\n') + agents('globex', '    role: deployer\n'),
      ),
      'nobody may ask for it',
    ],
    [
      'everybody is forbidden it',
      document(
        '    roles: [analyst]\n',
        policies('@id("closed")', 'forbid (principal is Agent, action, resource in Integration::"db");'),
      ),
      'the policy "closed" forbids it to everybody',
    ],
  ])('%s', (_name, text, says) => {
    const line = text.split('\n').findIndex((candidate) => candidate.includes('name: db/read')) + 1;
    expect(warningsOf(text)).toEqual([
      {
        path: 'credentials[0].name',
        line,
        column: 11,
        message: expect.stringContaining(`"db/read" can never be granted: ${says}`) as unknown,
      },
    ]);
  });

  it.each([
    ['a role', document('    roles: [analyst]\n')],
    [
      'a role, writing without approval',
      document('    roles: [analyst]\n    approval: off\n').replace('read:a:b', 'write:a:b'),
    ],
    [
      'a permit for its role',
      document('', policies('permit (principal in Role::"analyst", action, resource);')),
    ],
    [
      'a permit for its integration',
      document('', policies('permit (principal, action, resource in Integration::"db");')),
    ],
    [
      'a permit for its organization',
      document(
        '',
        policies('permit (principal in Organization::"acme", action, resource in Organization::"acme");'),
      ),
    ],
    [
      'a permit with a condition',
      document('', policies('permit (principal, action, resource) when { context.ttl_seconds < 10 };')),
    ],
    [
      'a forbid with a condition',
      document(
        '    roles: [analyst]\n',
        policies('forbid (principal, action, resource) when { context.ttl_seconds > 10 };'),
      ),
    ],
    [
      'a forbid for another organization',
      document(
        '    roles: [analyst]\n',
        policies('forbid (principal in Organization::"globex", action, resource);'),
      ),
    ],
    [
      'a forbid for people',
      document('    roles: [analyst]\n', policies('forbid (principal is Person, action, resource);')),
    ],
  ])('and %s makes none', (_name, text) => {
    expect(warningsOf(text)).toEqual([]);
  });

  it('of the development configuration there is none', () => {
    const text = readFileSync(new URL('../../../deploy/development/mayfly.yaml', import.meta.url), 'utf8');
    expect(warningsOf(text.replaceAll('${MAYFLY_DATA}', '/tmp/mayfly'))).toEqual([]);
  });
});
