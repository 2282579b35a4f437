import { describe, expect, it } from '@jest/globals';
import { parseConfiguration, type Configuration } from '@mayfly/configuration';
import { twoOrganizations } from '../spec-support/two-organizations.ts';
import { lostGround, type SessionGround } from './ground.ts';

function read(document: string): Configuration {
  const parsed = parseConfiguration(document.replaceAll('ISSUER_KEYS', 'file:/keys.json'));
  if (parsed.outcome !== 'ok') throw new Error(JSON.stringify(parsed.problems));
  return parsed.configuration;
}

const before = read(twoOrganizations);
const analyst: SessionGround = {
  organization: 'acme',
  trustRule: 'agents',
  kind: 'agent',
  agentRole: 'analyst',
  personRoles: [],
  hasRecipientKey: false,
};
const platform: SessionGround = {
  ...analyst,
  trustRule: 'people',
  kind: 'person',
  agentRole: undefined,
  personRoles: ['platform_administrator'],
};
const auditor: SessionGround = { ...platform, personRoles: ['auditor'] };

const after = (change: (document: string) => string) => {
  const changed = change(twoOrganizations);
  if (changed === twoOrganizations) throw new Error('The change changes nothing.');
  return read(changed);
};

describe('a session loses its ground with', () => {
  const rule = (text: string) => text.replace('  - name: agents\n', '  - name: other-agents\n');
  it.each<[string, SessionGround, (text: string) => string, RegExp]>([
    ['its trust rule', analyst, rule, /rule is gone/],
    [
      'its kind',
      { ...analyst, kind: 'person' },
      (text) => text.replace('session_ttl: 30m', 'session_ttl: 29m'),
      /rule is gone/,
    ],
    [
      'its role',
      analyst,
      (text) =>
        text
          .replace('allowed: [analyst, writer]', 'allowed: [writer]')
          .replaceAll('roles: [analyst]', 'roles: []'),
      /role/,
    ],
    [
      'the claim of its role',
      analyst,
      (text) =>
        text.replace(
          'role: { claim: role, allowed: [analyst, writer]',
          'role: { claim: job, allowed: [analyst, writer]',
        ),
      /role/,
    ],
    [
      'its role as a person',
      platform,
      (text) => text.replace(', platform: platform_administrator', ''),
      /role/,
    ],
    [
      'its role under another group',
      platform,
      (text) => text.replace('platform: platform_administrator', 'owners: platform_administrator'),
      /role/,
    ],
    [
      'the issuer',
      analyst,
      (text) => text.replace('issuer: https://issuer.example', 'issuer: https://other.example'),
      /admits/,
    ],
    [
      'the audience',
      analyst,
      (text) =>
        text.replace(
          'audience: mayfly\n    jwks: ISSUER_KEYS\n    require: { org: acme, kind: agent }',
          'audience: mayfly-2\n    jwks: ISSUER_KEYS\n    require: { org: acme, kind: agent }',
        ),
      /admits/,
    ],
    ['the keys', analyst, (text) => text.replace('jwks: ISSUER_KEYS', 'jwks: file:/other.json'), /admits/],
    [
      'a new requirement',
      analyst,
      (text) =>
        text.replace('require: { org: acme, kind: agent }', 'require: { org: acme, kind: agent, env: prod }'),
      /admits/,
    ],
    [
      'an algorithm',
      analyst,
      (text) => text.replace('as: agent\n', 'as: agent\n    algorithms: [EdDSA]\n'),
      /admits/,
    ],
    [
      'a recipient key that it has not',
      analyst,
      (text) => text.replace('as: agent\n', 'as: agent\n    require_recipient_key: true\n'),
      /recipient key/,
    ],
    [
      'another reading of a claim',
      analyst,
      (text) => text.replace('user: { claim: on_behalf_of }', 'user: { claim: [on, behalf_of] }'),
      /admits/,
    ],
    [
      'what makes its agent',
      analyst,
      (text) => text.replace('orchestration: ci', 'orchestration: cd'),
      /admits/,
    ],
    [
      'what tells its user',
      analyst,
      (text) => text.replace('user: { claim: on_behalf_of }', 'user: { claim: email }'),
      /admits/,
    ],
  ])('%s', (_what, ground, change, why) => {
    expect(lostGround(ground, before, after(change))).toMatch(why);
  });

  it('its organization, also when another has its name', () => {
    const gone = new Map([...before.organizations].filter(([id]) => id !== 'acme'));
    expect(lostGround(analyst, before, { ...before, organizations: gone })).toMatch(/organization/);
  });
});

describe('a session keeps its ground', () => {
  it.each<[string, SessionGround, (text: string) => string]>([
    ['whatever changes elsewhere', analyst, (text) => text.replace('name: globex-agents', 'name: others')],
    [
      'when its rule admits more',
      analyst,
      (text) =>
        text.replace('require: { org: acme, kind: agent }', 'require: { org: acme, kind: [agent, job] }'),
    ],
    [
      'when its rule requires less and nobody else',
      platform,
      (text) => text.replace('session_ttl: 30m', 'session_ttl: 20m'),
    ],
    [
      'when another role goes',
      analyst,
      (text) =>
        text
          .replace('allowed: [analyst, writer]', 'allowed: [analyst]')
          .replaceAll('roles: [writer]', 'roles: []'),
    ],
    [
      'when another role of people goes',
      auditor,
      (text) => text.replace(', platform: platform_administrator', ''),
    ],
    [
      'when its algorithms get their other name',
      analyst,
      (text) => text.replace('as: agent\n', 'as: agent\n    algorithms: [Ed25519, ES256, RS256]\n'),
    ],
    [
      'when a recipient key is asked for that it has',
      { ...analyst, hasRecipientKey: true },
      (text) => text.replace('as: agent\n', 'as: agent\n    require_recipient_key: true\n'),
    ],
    [
      'when its role is given to more',
      auditor,
      (text) => text.replace('auditors: auditor', 'auditors: auditor, readers: auditor'),
    ],
  ])('%s', (_what, ground, change) => {
    expect(lostGround(ground, before, after(change))).toBeUndefined();
  });
});
