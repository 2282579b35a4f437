import { describe, expect, it } from '@jest/globals';
import { parseConfiguration, type Configuration } from '@mayfly/configuration';
import { twoOrganizations } from '../spec-support/two-organizations.ts';
import { changesBetween } from './changes.ts';

const document = `${twoOrganizations.replaceAll('ISSUER_KEYS', 'file:/keys.json')}
policies: |
  forbid (principal, action, resource) when { context.now_hour == 3 };
`;
function configured(text: string): Configuration {
  const parsed = parseConfiguration(text);
  if (parsed.outcome === 'rejected') throw new Error(JSON.stringify(parsed.problems));
  return parsed.configuration;
}
const before = configured(document);
const changed = (...replacements: [string | RegExp, string][]) => {
  const after = replacements.reduce((text, [from, to]) => text.replace(from, to), document);
  expect(after).not.toBe(document);
  return changesBetween(before, configured(after)).map(
    ({ kind, change, name, organization, details }) =>
      `${change} ${kind} ${organization ?? '*'} ${name ?? ''}: ${details.join('; ')}`,
  );
};

describe('changesBetween', () => {
  it('finds nothing where only the text differs', () => {
    expect(changesBetween(before, configured(`# a comment\n${document}`))).toEqual([]);
    expect(changed(['ttl: { default: 5m, max: 15m }', 'ttl: { default: 300s, max: 900s }'])).toEqual([]);
  });

  it.each<[string, [string | RegExp, string], string[]]>([
    [
      'a trust domain',
      ['globex.example, secret', 'globex.test, secret'],
      ['changed organization globex globex: trust_domain: globex.example → globex.test'],
    ],
    [
      'a requirement',
      ['org: acme, kind: agent', 'org: acme, kind: bot'],
      ['changed trust_rule acme agents: require.kind: agent → bot'],
    ],
    [
      'a role of people',
      ['auditors: auditor', 'auditors: administrator'],
      ['changed trust_rule acme people: person_roles.values.auditors: auditor → administrator'],
    ],
    [
      'a secret reference',
      ['admin: env:ACME_ORDERS', 'admin: env:ACME_OTHER'],
      ['changed integration acme orders-db: admin: env:ACME_ORDERS → env:ACME_OTHER'],
    ],
    [
      'a scope',
      ["['read:plans:*']", "['read:plans:x']"],
      ['changed credential globex plans/read: scope.scopes: no longer read:plans:*; also read:plans:x'],
    ],
    [
      'a limit',
      ['per_session: 3', 'per_session: 4'],
      ['changed credential acme tool/limited: limits.per_session: 3 → 4'],
    ],
    [
      'a renewal that goes',
      [/ {4}renewal: \{ max_life: 20m, max_count: 2, grace: 10s \}\n/, ''],
      [
        expect.stringMatching(
          /^changed credential acme tool\/rotating: renewal: \{.*\} → nothing$/,
        ) as unknown as string,
      ],
    ],
    [
      'a credential that goes',
      [/ {2}- name: plans\/read\n(?: {4}.*\n)+/, ''],
      ['removed credential globex plans/read: '],
    ],
    [
      'a policy',
      ['== 3', '== 4'],
      [
        'changed policies * : no longer: forbid (principal, action, resource) when { context.now_hour == 3 };; now: forbid (principal, action, resource) when { context.now_hour == 4 };',
      ],
    ],
    [
      'all policies',
      [/policies: \|\n.*\n/, ''],
      [
        'removed policies * : no longer: forbid (principal, action, resource) when { context.now_hour == 3 };',
      ],
    ],
  ])('names %s', (_what, replacement, expected) => {
    expect(changed(replacement)).toEqual(expected);
  });

  it('names the order of trust rules, of which the first that fits decides', () => {
    const people = /( {2}- name: people\n(?: {4}.*\n(?: {6}.*\n)*)+)/.exec(document)?.[0] ?? '';
    const moved = document.replace(people, '').replace('trust:\n', `trust:\n${people}`);
    expect(changesBetween(before, configured(moved))).toMatchObject(
      [{ kind: 'trust_rule', details: [/order/] }].map(({ kind }) => ({ kind, change: 'changed' })),
    );
  });

  it('is bounded, whatever differs', () => {
    const scopes = Array.from({ length: 60 }, (_, n) => `'read:${'x'.repeat(40)}${n}:*'`).join(', ');
    const many = document.replace("scopes: ['read:plans:*']", `scopes: [${scopes}]`);
    for (const { details } of changesBetween(before, configured(many))) {
      expect(details.length).toBeLessThanOrEqual(8);
      for (const detail of details) expect(detail.length).toBeLessThanOrEqual(300);
    }
  });

  it('compares with nothing where nothing can be read', () => {
    const changes = changesBetween(undefined, before);
    expect(new Set(changes.map(({ change }) => change))).toEqual(new Set(['added']));
    expect(changes.filter(({ kind }) => kind === 'credential')).toHaveLength(6);
  });
});
