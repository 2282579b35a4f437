/** One configuration document for every kind of mistake: what is wrong, how it is made, and the path that must be named. */
import { canary } from './bad-input.ts';

type WrongDocument = readonly [what: string, change: (running: string) => string, place: RegExp];

const replace = (from: string | RegExp, to: string) => (document: string) => document.replace(from, to);
const append = (text: string) => (document: string) => `${document}\n${text}\n`;
const instead = (text: string) => () => text;

export const wrongDocuments: readonly WrongDocument[] = [
  ['empty', instead(''), /^$/],
  ['a text', instead(canary), /^$/],
  ['a list', instead(`- ${canary}`), /^$/],
  ['no YAML', instead(`organizations: [${canary}`), /^/],
  ['a tab as indentation', append('policies:\n\tx: y'), /^/],
  ['two documents', append(`---\norganizations: []`), /^/],
  ['NUL', append('# \0'), /^$/],
  ['an alias bomb', instead('a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n'), /^/],
  ['a tag', instead('organizations: !!js/function "function () {}"\n'), /^organizations/],
  ['a merge key', append('integrations2:\n  <<: {a: b}'), /^/],
  ['__proto__', append('__proto__: {a: b}'), /^/],
  ['a key twice', append('organizations: []'), /^organizations/],
  ['brackets 100,000 deep', instead(`organizations: ${'['.repeat(100_000)}`), /^/],
  ['maps 5,000 deep', instead(`a: ${'{a: '.repeat(5_000)}1${'}'.repeat(5_000)}`), /^/],
  [
    'indentation 1,000 deep',
    instead(Array.from({ length: 1_000 }, (_, n) => `${' '.repeat(n)}a:`).join('\n')),
    /^/,
  ],
  ['an unknown key', append(`zq7unknown: 1`), /^zq7unknown$/],
  [
    'an unknown key in a block',
    replace('trust_domain: acme.example', 'trust_domian: acme.example'),
    /^organizations\[0\]\.trust_domian$/,
  ],
  ['a missing key', replace('    issuer: https://issuer.mayfly.localhost\n', ''), /^trust\[0\]\.issuer$/],
  ['a wrong type', replace('ttl: { default: 5m, max: 15m }', 'ttl: 5'), /^credentials\[0\]\.ttl$/],
  ['a wrong duration', replace('max: 15m', 'max: 15 minutes'), /^credentials\[0\]\.ttl\.max$/],
  ['a life above the longest', replace('max: 15m', 'max: 61m'), /^credentials\[0\]\.ttl\.max$/],
  [
    'a default above the maximum',
    replace('default: 5m, max: 15m', 'default: 15m, max: 5m'),
    /^credentials\[0\]\.ttl\.default$/,
  ],
  ['an organization twice', replace('- name: globex', '- name: acme'), /^organizations\[1\]\.name$/],
  ['a name that is none', replace('- name: acme\n', '- name: ../../acme\n'), /^organizations\[0\]\.name$/],
  [
    'an organization that is not there',
    replace('organization: globex, provider: postgres', 'organization: initech, provider: postgres'),
    /^integrations\[\d+\]\.organization$/,
  ],
  [
    'an integration that is not there',
    replace('- name: down-db/readonly', '- name: gone-db/readonly'),
    /^credentials\[\d+\]\.name$/,
  ],
  [
    'an integration twice',
    replace('name: down-db, organization', 'name: orders-db, organization'),
    /^integrations\[\d+\]\.name$/,
  ],
  [
    'a credential twice',
    replace('- name: orders-db/limited', '- name: orders-db/readonly'),
    /^credentials\[1\]\.name$/,
  ],
  ['a role that nobody has', replace('roles: [deployer]', 'roles: [deployr]'), /^credentials\[\d+\]\.roles/],
  [
    'a provider that is not there',
    replace('provider: postgres', 'provider: postgers'),
    /^integrations\[0\]\.provider$/,
  ],
  [
    'a secret instead of its reference',
    replace('admin: env:ORDERS_ADMIN_URL', `admin: postgres://admin:${canary}@db/orders`),
    /^integrations\[0\]\.admin$/,
  ],
  [
    "a reference to one of Mayfly's own secrets",
    replace('admin: env:ORDERS_ADMIN_URL', 'admin: env:MAYFLY_KEYS'),
    /^integrations\[0\]\.admin$/,
  ],
  [
    "a prefix that covers Mayfly's own secrets",
    replace("['env:GLOBEX_']", "['env:']"),
    /^organizations\[1\]\.secret_references/,
  ],
  [
    'a reference to a file out of bounds',
    replace('admin: env:ORDERS_ADMIN_URL', 'admin: file:/etc/passwd'),
    /^integrations\[0\]\.admin$/,
  ],
  [
    "Mayfly's own audience",
    replace('audience: https://reports.example', 'audience: mayfly'),
    /^integrations\[\d+\]\.audience$/,
  ],
  [
    'a scope in another form',
    replace('scope: { privileges: [SELECT], schemas: [public] }', 'scope: { everything: true }'),
    /^credentials\[0\]\.scope/,
  ],
  [
    'a privilege that is none',
    replace('privileges: [SELECT]', 'privileges: [SUPERUSER]'),
    /^credentials\[0\]\.scope\.privileges/,
  ],
  [
    'a limit of none',
    replace('per_session: 2', 'per_session: 0'),
    /^credentials\[\d+\]\.limits\.per_session$/,
  ],
  [
    'a limit that is no whole number',
    replace('per_session: 2', 'per_session: 1e400'),
    /^credentials\[\d+\]\.limits\.per_session$/,
  ],
  ['approval that is neither', replace('approval: off', 'approval: never'), /^credentials\[\d+\]\.approval$/],
  [
    'an algorithm without a key',
    replace('    as: agent\n', '    as: agent\n    algorithms: [HS256]\n'),
    /^trust\[0\]\.algorithms/,
  ],
  [
    'a session above the longest',
    replace('    as: agent\n', '    as: agent\n    session_ttl: 2h\n'),
    /^trust\[0\]\.session_ttl$/,
  ],
  [
    'a role from nobody knows where',
    replace('allowed: [analyst, deployer]', 'allowed: []'),
    /^trust\[0\]\.role/,
  ],
  [
    'a person role that is none',
    replace('administrators: administrator', 'administrators: root'),
    /^trust\[\d+\]\.person_roles/,
  ],
  ['a policy that is no Cedar', append('policies: |\n  permit (principal, action'), /^policies/],
  [
    'a policy of a type that is none',
    append('policies: |\n  forbid (principal == Nobody::"x", action, resource);'),
    /^policies/,
  ],
  [
    'a policy of an attribute that is none',
    append('policies: |\n  forbid (principal, action, resource) when { principal.nothing == 1 };'),
    /^policies/,
  ],
  [
    '1,000 mistakes',
    append(
      `extra:\n${Array.from({ length: 1_000 }, (_, n) => `  - x${n}`).join('\n')}\n${Array.from({ length: 1_000 }, (_, n) => `y${n}: 1`).join('\n')}`,
    ),
    /^y\d+$/,
  ],
];
