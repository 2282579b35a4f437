/** Each kind of mistake in a document: where it is said to be, and what is said. Good documents: what they mean. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { maxProblems } from './document/problems.ts';
import { parseConfiguration } from './parse.ts';

/** A good document; each mistake below replaces one of its lines. */
const good = `organizations:
  - name: acme
    trust_domain: acme.example
    secret_references: ['env:ORDERS_', 'file:/run/secrets/acme/']
trust:
  - name: ci
    issuer: https://issuer.example
    audience: mayfly
    jwks: https://issuer.example/jwks.json
    require: { kind: agent, ref: [main, release] }
    as: agent
    agent: { orchestration: ci, task: { claim: job.name }, instance: { claim: sub } }
    role: { claim: role, allowed: [analyst, deployer] }
    user: { claim: on_behalf_of }
    session_ttl: 30m
  - name: people
    issuer: https://issuer.example
    audience: mayfly
    jwks: file:/etc/mayfly/people.jwks.json
    require: { kind: person }
    as: person
    user: { claim: email }
    person_roles: { claim: groups, values: { admins: administrator, audit: auditor } }
integrations:
  - name: orders-db
    provider: postgres
    admin: env:ORDERS_ADMIN_URL
  - name: reports-api
    provider: jwt
    audience: https://reports.example
credentials:
  - name: orders-db/readonly
    description: Read the orders.
    roles: [analyst]
    scope: { privileges: [SELECT], schemas: [public] }
    ttl: { default: 5m, max: 15m }
    limits: { per_session: 3, concurrent: 10 }
    connection_limit: 2
  - name: orders-db/writer
    scope: { privileges: [INSERT], schemas: [public] }
    ttl: { max: 90s }
  - name: reports-api/read
    scope: { scopes: ['read:reports:*'] }
    ttl: { default: 1h }
policies: |
  // Nobody from the guest network.
  @id("guests")
  forbid (principal, action == Action::"mint", resource in Integration::"orders-db")
  when { context.source_ip.isInRange(ip("203.0.113.0/24")) };

  permit (principal in Role::"deployer", action, resource == Credential::"orders-db/writer");
`;

function line(text: string): number {
  const index = good.split('\n').findIndex((candidate) => candidate.includes(text));
  if (index === -1) throw new Error(`no line with ${text}`);
  return index + 1;
}

/** [what is written, what stands there instead, path, line (as in the good document, plus lines), what the sentence says] */
type Mistake = [name: string, from: string, to: string, path: string, at: number, says: string | RegExp];

const mistakes: Mistake[] = [
  // YAML
  [
    'two keys on one line',
    '  - name: acme',
    '  - name: acme: x',
    '',
    line('- name: acme'),
    'two keys on one line',
  ],
  ['a tab', '    trust_domain: a', '\ttrust_domain: a', '', line('trust_domain'), 'use spaces'],
  [
    'an open bracket',
    'roles: [analyst]',
    'roles: [analyst',
    '',
    line('scope: { privileges: [SELECT]'),
    /bracket|colon/,
  ],
  ['an open quote', 'description: Read the orders.', 'description: "Read', '', line('description'), /quote/],
  ['a second document', 'integrations:', '---\nintegrations:', '', line('integrations:'), 'second document'],
  [
    'a key twice',
    '    description: Read the orders.',
    '    description: a\n    description: b',
    'credentials[0].description',
    line('description') + 1,
    'stands twice',
  ],
  [
    'a block twice',
    'integrations:',
    'integrations: []\nintegrations:',
    'integrations',
    line('integrations:') + 1,
    'stands twice',
  ],
  [
    'an alias',
    'roles: [analyst]',
    'roles: [&a analyst, *a]',
    'credentials[0].roles[1]',
    line('roles: [analyst]'),
    'write the value out',
  ],
  [
    'a tag',
    'description: Read',
    'description: !!js/function Read',
    'credentials[0].description',
    line('description'),
    'tags',
  ],
  ['a control character', 'Read the orders.', 'Read \x07', '', line('description'), 'control character'],
  [
    '__proto__ as a key',
    'require: { kind: person }',
    'require: { __proto__: person }',
    'trust[1].require',
    line('kind: person'),
    '__proto__',
  ],
  [
    'deep nesting',
    'scope: { scopes: ',
    `scope: { a: ${'['.repeat(30)}${']'.repeat(30)}, scopes: `,
    `credentials[2].scope.a${'[0]'.repeat(13)}`,
    line("scopes: ['read"),
    'nested deeper',
  ],
  // Shape
  ['an unknown block', 'trust:\n', 'trusts:\n', 'trusts', line('trust:'), 'did you mean "trust"?'],
  [
    'a misspelt key',
    'roles: [analyst]',
    'rolse: [analyst]',
    'credentials[0].rolse',
    line('roles: [analyst]'),
    '"rolse" is not known here; did you mean "roles"?',
  ],
  [
    'a misspelt key further in',
    'per_session: 3',
    'per_sesion: 3',
    'credentials[0].limits.per_sesion',
    line('limits'),
    'did you mean "per_session"?',
  ],
  [
    'an unknown key of a provider',
    'admin: env:ORDERS_ADMIN_URL',
    'admin: env:ORDERS_ADMIN_URL\n    port: 5432',
    'integrations[0].port',
    line('admin:') + 1,
    '"port" is not known here',
  ],
  [
    'a misspelt key of a provider',
    'connection_limit',
    'conection_limit',
    'credentials[0].conection_limit',
    line('connection_limit'),
    'did you mean "connection_limit"?',
  ],
  [
    'a key that is missing',
    '    trust_domain: acme.example\n',
    '',
    'organizations[0].trust_domain',
    line('- name: acme'),
    '"trust_domain" is missing',
  ],
  [
    'a setting that is missing',
    '    admin: env:ORDERS_ADMIN_URL\n',
    '',
    'integrations[0].admin',
    line('- name: orders-db'),
    '"admin" is missing',
  ],
  [
    'an empty value',
    'roles: [analyst]',
    'roles:',
    'credentials[0].roles',
    line('roles: [analyst]'),
    '"roles" is empty',
  ],
  [
    'a text for a list',
    'roles: [analyst]',
    'roles: analyst',
    'credentials[0].roles',
    line('roles: [analyst]'),
    '"roles" must be a list',
  ],
  [
    'a list for a text',
    'audience: https://reports.example',
    'audience: [a]',
    'integrations[1].audience',
    line('reports.example'),
    '"audience" must be text',
  ],
  [
    'a text for a number',
    'concurrent: 10',
    'concurrent: many',
    'credentials[0].limits.concurrent',
    line('limits'),
    '"concurrent" must be a number',
  ],
  [
    'a number that is too small',
    'concurrent: 10',
    'concurrent: 0',
    'credentials[0].limits.concurrent',
    line('limits'),
    'must be at least 1',
  ],
  [
    'a name in capitals',
    '- name: orders-db\n',
    '- name: Orders\n',
    'integrations[0].name',
    line('- name: orders-db'),
    'lower-case',
  ],
  [
    'a credential without its integration',
    'orders-db/readonly',
    'readonly',
    'credentials[0].name',
    line('orders-db/readonly'),
    'must look like <integration>/<name>',
  ],
  // Names
  [
    'an unknown organization',
    '  - name: orders-db\n',
    '  - name: orders-db\n    organization: amce\n',
    'integrations[0].organization',
    line('- name: orders-db') + 1,
    'there is no organization "amce"; did you mean "acme"?',
  ],
  [
    'an unknown provider',
    'provider: postgres',
    'provider: postgers',
    'integrations[0].provider',
    line('provider: postgres'),
    'did you mean "postgres"?',
  ],
  [
    'an unknown integration',
    'orders-db/writer\n',
    'order-db/writer\n',
    'credentials[1].name',
    line('- name: orders-db/writer'),
    'has no integration "order-db"; did you mean "orders-db"?',
  ],
  [
    'an unknown role',
    'roles: [analyst]',
    'roles: [analyst, analist]',
    'credentials[0].roles[1]',
    line('roles: [analyst]'),
    'no trust rule gives the role "analist"',
  ],
  [
    'an integration twice',
    '- name: reports-api\n',
    '- name: orders-db\n',
    'integrations[1].name',
    line('- name: reports-api'),
    'stands twice',
  ],
  [
    'a credential twice',
    'orders-db/writer\n',
    'orders-db/readonly\n',
    'credentials[1].name',
    line('- name: orders-db/writer'),
    'stands twice',
  ],
  [
    'a trust rule twice',
    '- name: people',
    '- name: ci',
    'trust[1].name',
    line('- name: people'),
    'stands twice',
  ],
  [
    'an organization twice',
    'trust:\n',
    '  - { name: acme, trust_domain: b.example }\ntrust:\n',
    'organizations[1].name',
    line('trust:'),
    'stands twice',
  ],
  // TTLs
  [
    'a maximum life below the longest TTL',
    '    limits: { per_session: 3, concurrent: 10 }',
    '    limits: { per_session: 3, concurrent: 10 }\n    renewal: { max_life: 10m }',
    'credentials[0].renewal.max_life',
    line('limits:') + 1,
    'must not be shorter than the longest TTL',
  ],
  [
    'a renewal without a maximum life',
    '    limits: { per_session: 3, concurrent: 10 }',
    '    limits: { per_session: 3, concurrent: 10 }\n    renewal: { max_count: 3 }',
    'credentials[0].renewal.max_life',
    line('limits:') + 1,
    '"max_life" is missing',
  ],
  [
    'a renewal setting that does not exist',
    '    limits: { per_session: 3, concurrent: 10 }',
    '    limits: { per_session: 3, concurrent: 10 }\n    renewal: { max_life: 1h, max_counts: 3 }',
    'credentials[0].renewal.max_counts',
    line('limits:') + 1,
    'max_count',
  ],
  [
    'a maximum life above a day',
    '    limits: { per_session: 3, concurrent: 10 }',
    '    limits: { per_session: 3, concurrent: 10 }\n    renewal: { max_life: 25h }',
    'credentials[0].renewal.max_life',
    line('limits:') + 1,
    'at most 24h',
  ],
  [
    'a default above the maximum',
    'default: 5m, max: 15m',
    'default: 16m, max: 15m',
    'credentials[0].ttl.default',
    line('default: 5m'),
    'must not be longer than "max"',
  ],
  [
    'a maximum above an hour',
    'max: 15m',
    'max: 61m',
    'credentials[0].ttl.max',
    line('max: 15m'),
    '"max" must be at most 1h',
  ],
  [
    'a TTL without a unit',
    'max: 15m',
    'max: 900',
    'credentials[0].ttl.max',
    line('max: 15m'),
    'must be a duration such as 90s, 15m or 1h',
  ],
  [
    'a TTL of nothing',
    'max: 15m',
    'max: 0s',
    'credentials[0].ttl.max',
    line('max: 15m'),
    'must be a duration',
  ],
  [
    'a session above an hour',
    'session_ttl: 30m',
    'session_ttl: 2h',
    'trust[0].session_ttl',
    line('session_ttl'),
    'must be at most 1h',
  ],
  // Secrets
  [
    'a URL where a reference belongs',
    'env:ORDERS_ADMIN_URL',
    'postgres://admin:hunter2@db/orders',
    'integrations[0].admin',
    line('admin:'),
    'must be a secret reference such as env:NAME',
  ],
  [
    'a URL behind env:',
    'env:ORDERS_ADMIN_URL',
    'env:postgres://admin:hunter2@db/orders',
    'integrations[0].admin',
    line('admin:'),
    'must be a secret reference such as env:NAME',
  ],
  [
    'a secret behind env:',
    'env:ORDERS_ADMIN_URL',
    'env:hunter2',
    'integrations[0].admin',
    line('admin:'),
    'must begin with one of the prefixes of the organization "acme": env:ORDERS_',
  ],
  [
    'a secret as a key',
    'admin: env:ORDERS_ADMIN_URL',
    '"postgres://hunter2@db": x\n    admin: env:ORDERS_ADMIN_URL',
    'integrations[0].?',
    line('admin:'),
    'this key is not known here',
  ],
  [
    'a secret in broken YAML',
    'admin: env:ORDERS_ADMIN_URL',
    'admin: "hunter2" hunter2',
    '',
    line('admin:'),
    '',
  ],
  [
    'a secret for a number',
    'concurrent: 10',
    'concurrent: hunter2',
    'credentials[0].limits.concurrent',
    line('limits'),
    'must be a number',
  ],
  [
    'a reference out of its folder',
    'env:ORDERS_ADMIN_URL',
    'file:/run/secrets/acme/../hunter2',
    'integrations[0].admin',
    line('admin:'),
    'must be a plain path',
  ],
  [
    'agents on another server, of which nothing is said',
    'env:ORDERS_ADMIN_URL',
    'env:ORDERS_ADMIN_URL\n    agent_host: replicas.example',
    'integrations[0].agent_host',
    line('admin:') + 1,
    '"agent_host" sends agents to another server than the admin URL names',
  ],
  [
    'a standby of another organization',
    'env:ORDERS_ADMIN_URL',
    'env:ORDERS_ADMIN_URL\n    standbys: [env:ORDERS_STANDBY, env:HUNTER2]',
    'integrations[0].standbys[1]',
    line('admin:') + 1,
    'must begin with one of the prefixes of the organization',
  ],
  [
    'a prefix of everything',
    "'env:ORDERS_'",
    "'env:'",
    'organizations[0].secret_references[0]',
    line('secret_references'),
    'must be the beginning of secret references',
  ],
  [
    'a prefix over Mayfly’s own',
    "'env:ORDERS_'",
    "'env:MAYFLY_'",
    'organizations[0].secret_references[0]',
    line('secret_references'),
    'Mayfly’s own',
  ],
  [
    'a prefix that covers Mayfly’s own',
    "'env:ORDERS_'",
    "'env:M'",
    'organizations[0].secret_references[0]',
    line('secret_references'),
    'Mayfly’s own',
  ],
  // Scopes
  [
    'an unknown privilege',
    'privileges: [SELECT]',
    'privileges: [SELCT]',
    'credentials[0].scope.privileges[0]',
    line('privileges: [SELECT]'),
    'did you mean "SELECT"?',
  ],
  [
    'a scope of another provider',
    "scope: { scopes: ['read:reports:*'] }",
    'scope: { privileges: [SELECT] }',
    'credentials[2].scope.privileges',
    line("scopes: ['read"),
    'is not known here',
  ],
  [
    'a scope string without parts',
    'read:reports:*',
    'read',
    'credentials[2].scope.scopes[0]',
    line("scopes: ['read"),
    'must look like action:resource:identifier',
  ],
  [
    'a table outside of its schemas',
    'schemas: [public] }\n    ttl: { default',
    'schemas: [public], tables: [sales.x] }\n    ttl: { default',
    'credentials[0].scope.tables',
    line('privileges: [SELECT]'),
    'every table must be in one of the schemas',
  ],
  // Trust
  [
    'neither agent nor person',
    'as: person',
    'as: robot',
    'trust[1].as',
    line('as: person'),
    '"as: agent" or "as: person"',
  ],
  [
    'a person with a role',
    '    as: person',
    '    as: person\n    role: analyst',
    'trust[1].role',
    line('as: person') + 1,
    '"role" is not known here',
  ],
  [
    'a role from a claim without a list',
    ', allowed: [analyst, deployer]',
    '',
    'trust[0].role',
    line('role: { claim'),
    'allowed',
  ],
  [
    'a person role that does not exist',
    'audit: auditor',
    'audit: auditer',
    'trust[1].person_roles.values.audit',
    line('person_roles'),
    'did you mean "auditor"?',
  ],
  [
    'keys over plain http',
    'https://issuer.example/jwks.json',
    'http://issuer.example/jwks.json',
    'trust[0].jwks',
    line('jwks: https'),
    'must be an https:// address',
  ],
  [
    'keys from a relative path',
    'file:/etc/mayfly/people.jwks.json',
    'file:people.jwks.json',
    'trust[1].jwks',
    line('jwks: file'),
    'file:/absolute/path',
  ],
  [
    'a placeholder that nobody replaced',
    'file:/etc/mayfly/people',
    'file:${MAYFLY_DATA}/people',
    'trust[1].jwks',
    line('jwks: file'),
    'file:/absolute/path',
  ],
  [
    'a symmetric algorithm',
    '    as: person',
    '    as: person\n    algorithms: [HS256]',
    'trust[1].algorithms[0]',
    line('as: person') + 1,
    'must be one of EdDSA',
  ],
  [
    'a number for a claim',
    'require: { kind: person }',
    'require: { kind: 1 }',
    'trust[1].require.kind',
    line('kind: person'),
    'quote numbers',
  ],
  [
    'TRIGGER',
    'privileges: [INSERT]',
    'privileges: [INSERT, TRIGGER]',
    'credentials[1].scope.privileges[1]',
    line('privileges: [INSERT]'),
    'must not be TRIGGER: it lets a lease run code as whoever writes to the table, and its triggers outlive it',
  ],
  [
    'REFERENCES without a word on the credential',
    'privileges: [INSERT]',
    'privileges: [INSERT, REFERENCES]',
    'credentials[1].scope.privileges[1]',
    line('privileges: [INSERT]'),
    /^"REFERENCES" lets a lease .*; remove it, or write "unsafe: \[REFERENCES\]" on the credential$/,
  ],
  [
    'an unsafe right that the scope does not have',
    '    ttl: { max: 90s }',
    '    unsafe: [REFERENCES]',
    'credentials[1].unsafe[0]',
    line('ttl: { max: 90s }'),
    'the scope has no unsafe right of this name',
  ],
  [
    'an unsafe right that is none',
    '    ttl: { max: 90s }',
    '    unsafe: [TRIGGER]',
    'credentials[1].unsafe[0]',
    line('ttl: { max: 90s }'),
    'the scope has no unsafe right of this name',
  ],
  [
    'a tool with the audience of a trust rule',
    'audience: https://reports.example',
    'audience: mayfly',
    'integrations[1].audience',
    line('reports.example'),
    'must be the tool’s own',
  ],
  // Cedar
  [
    'a syntax error',
    'when { context.source_ip',
    'when { context source_ip',
    'policies',
    line('when { context'),
    'Cedar: unexpected token `source_ip`',
  ],
  [
    'a policy without its end',
    'orders-db/writer");',
    'orders-db/writer")',
    'policies',
    line('permit (principal in Role'),
    /Cedar: unexpected end of input/,
  ],
  [
    'an unknown attribute',
    'context.source_ip',
    'context.sorce_ip',
    'policies',
    line('when { context'),
    'did you mean `source_ip`?',
  ],
  [
    'an unknown type',
    'resource == Credential::',
    'resource == Credental::',
    'policies',
    line('permit (principal in Role'),
    'did you mean `Credential`?',
  ],
  [
    'an unknown action',
    'Action::"mint"',
    'Action::"mnt"',
    'policies',
    line('forbid (principal'),
    'did you mean `Action::"mint"`?',
  ],
  [
    'an attribute that may be absent',
    'when { context.source_ip',
    'when { principal.user == "x" && context.source_ip',
    'policies',
    line('when { context'),
    'principal.user'.replace('principal.', '`') + '`',
  ],
  [
    'an address that is none',
    '203.0.113.0/24',
    '203.0.113.0/99',
    'policies',
    line('when { context'),
    'failed to parse as IP address',
  ],
  [
    'a policy that can never apply',
    'when { context.source_ip',
    'when { false && context.source_ip',
    'policies',
    line('@id("guests")'),
    'impossible',
  ],
  [
    'a template',
    'principal in Role::"deployer"',
    'principal in ?principal',
    'policies',
    line('permit (principal in Role'),
    'template',
  ],
  [
    'an unknown integration in a policy',
    'Integration::"orders-db"',
    'Integration::"orders-bd"',
    'policies',
    line('forbid (principal'),
    'there is no integration "orders-bd"; did you mean "orders-db"?',
  ],
  [
    'an unknown credential in a policy',
    'Credential::"orders-db/writer"',
    'Credential::"orders-db/write"',
    'policies',
    line('permit (principal in Role'),
    'did you mean "orders-db/writer"?',
  ],
  [
    'an unknown role in a policy',
    'Role::"deployer"',
    'Role::"deploier"',
    'policies',
    line('permit (principal in Role'),
    'no trust rule gives the role "deploier"',
  ],
  [
    'a policy id twice',
    '  permit (principal in Role',
    '  @id("guests") permit (principal in Role',
    'policies',
    line('permit (principal in Role'),
    'the policy id "guests" stands twice',
  ],
  [
    'a policy id that is ours',
    '@id("guests")',
    '@id("roles:orders-db/readonly")',
    'policies',
    line('@id("guests")'),
    'not begin with "roles:"',
  ],
  [
    'a policy that would break the engine',
    'when { context.source_ip',
    `when { ${'('.repeat(2_000)} context.source_ip`,
    'policies',
    line('@id("guests")'),
    'brackets inside each other',
  ],
  [
    'a comment that only looks as if it went on to the end of the line',
    '// Nobody from the guest network.',
    '// Nobody from the guest network.\r  permit (principal, action, resource);',
    '',
    line('// Nobody'),
    'carriage return',
  ],
  [
    'a key that only looks like a comment',
    '    role: { claim',
    '    # all\r    algorithms: [RS256]\n    role: { claim',
    '',
    line('    role: { claim'),
    'carriage return',
  ],
  [
    'text that is shown in another order than it is read',
    '// Nobody',
    '// \u202ENobody',
    '',
    line('// Nobody'),
    'U+202E',
  ],
  [
    'a line end that not everybody takes for one',
    '// Nobody',
    '// \u2028Nobody',
    '',
    line('// Nobody'),
    'U+2028',
  ],
  ['another', '// Nobody', '// \x85Nobody', '', line('// Nobody'), 'U+0085'],
  [
    'an invisible character in a policy',
    'deployer", action',
    'dep\u200Bloyer", action',
    'policies',
    line('permit (principal in Role'),
    'U+200B',
  ],
  [
    'a comment in folded policies',
    'policies: |',
    'policies: >',
    'policies',
    line('policies:'),
    /folded away.*"policies: \|"/,
  ],
  [
    'policies that are comments only',
    good.slice(good.indexOf('  @id("guests")')),
    '  // permit (principal, action, resource);\n',
    'policies',
    line('policies:'),
    'holds no policy',
  ],
  [
    'policies that are no text',
    'policies: |',
    'policies: [a]\nx: |',
    'policies',
    line('policies:'),
    'must be text',
  ],
];

describe('a mistake is told with its line and what to do', () => {
  it.each(mistakes)('%s', (_name, from, to, path, at, says) => {
    expect(good).toContain(from);
    const parsed = parseConfiguration(good.replace(from, () => to));
    if (parsed.outcome !== 'rejected') throw new Error('was accepted');
    const found = parsed.problems.find((problem) => problem.path === path && problem.line === at);
    if (!found) throw new Error(`not at ${path} line ${at}: ${JSON.stringify(parsed.problems, null, 1)}`);
    if (typeof says === 'string') expect(found.message).toContain(says);
    else expect(found.message).toMatch(says);
    expect(found.column).toBeGreaterThan(0);
    expect(JSON.stringify(parsed.problems)).not.toContain('hunter2');
  });

  it('all at once, in the order of the document', () => {
    const broken = good
      .replace('roles: [analyst]', 'rolse: [analyst]')
      .replace('max: 15m', 'max: 2h')
      .replace('env:ORDERS_ADMIN_URL', 'secret')
      .replace('context.source_ip', 'context.sorce_ip')
      .replace('Credential::"orders-db/writer"', 'Credential::"orders-db/wrt"');
    const parsed = parseConfiguration(broken);
    if (parsed.outcome !== 'rejected') throw new Error('was accepted');
    expect(parsed.problems.map((problem) => problem.path)).toEqual([
      'integrations[0].admin',
      'credentials[0].rolse',
      'credentials[0].ttl.max',
      'policies',
      'policies',
    ]);
  });

  it('at most 100 of them', () => {
    const keys = Array.from({ length: 1_000 }, (_, index) => `key${index}: 1\n`).join('');
    const parsed = parseConfiguration(good + keys);
    if (parsed.outcome !== 'rejected') throw new Error('was accepted');
    expect(parsed.problems).toHaveLength(maxProblems);
  });

  it('points into a policy to the column, and to the block where lines are folded', () => {
    const at = (document: string) => {
      const parsed = parseConfiguration(document);
      return parsed.outcome === 'rejected' ? parsed.problems.map(({ line, column }) => [line, column]) : [];
    };
    const wrong = good.replace('context.source_ip', 'context.sorce_ip');
    expect(at(wrong)).toEqual([[line('when { context'), 10]]);
    expect(at(wrong.replaceAll('\n', '\r\n'))).toEqual([[line('when { context'), 10]]);
    expect(at(wrong.replace('// Nobody', '// Éé 😀'))).toEqual([[line('when { context'), 10]]);
    expect(
      at(
        good
          .replace('policies: |', 'policies: >')
          .replace('  // Nobody from the guest network.\n', '')
          .replace('source_ip', 'sorce_ip'),
      ),
    ).toEqual([[line('policies:'), 11]]);
  });
});

describe('policies of which line breaks are folded away', () => {
  const before = good.slice(0, good.indexOf('policies: |'));
  const forbid = 'forbid (principal, action, resource);';
  const problems = (policies: string) => {
    const parsed = parseConfiguration(before + policies);
    return parsed.outcome === 'ok' ? [] : parsed.problems.map(({ message }) => message);
  };

  it.each([
    ['folded', `policies: >\n  // Nobody.\n  ${forbid}\n`],
    ['folded, stripped', `policies: >-\n  ${forbid} // Nobody.\n  ${forbid}\n`],
    ['plain', `policies: ${forbid} // Nobody.\n  ${forbid}\n`],
    ['between double quotes', `policies: "${forbid} // Nobody.\n  ${forbid}"\n`],
    ['between single quotes', `policies: '${forbid} // Nobody.\n  ${forbid}'\n`],
  ])('%s: no comment may stand in them', (_name, policies) => {
    expect(problems(policies)).toEqual([expect.stringContaining('folded away')]);
  });

  it('are those of an organization too', () => {
    const own = good.replace(
      '    trust_domain: acme.example\n',
      `    trust_domain: acme.example\n    policies: >\n      // Nobody.\n      ${forbid}\n`,
    );
    const parsed = parseConfiguration(own);
    expect(parsed).toMatchObject({
      problems: [
        {
          path: 'organizations[0].policies',
          line: 4,
          message: expect.stringContaining('folded away') as unknown,
        },
      ],
    });
  });

  it.each([
    ['folded without a comment', `policies: >\n  ${forbid}\n  ${forbid}\n`],
    ['quoted on one line, as JSON', `policies: ${JSON.stringify(`// Nobody.\n${forbid}\n`)}\n`],
    ['a literal block', `policies: |\n  // Nobody.\n  ${forbid}\n`],
    ['a literal block with CR LF', `policies: |\r\n  // Nobody.\r\n  ${forbid}\r\n`],
  ])('%s: are right', (_name, policies) => {
    expect(problems(policies)).toEqual([]);
  });

  it.each(['""', '" "', '"// none"', '>-\n  \n', '|\n  // none\n'])('hold no policy: %s', (policies) => {
    expect(problems(`policies: ${policies}\n`)).toEqual([
      expect.stringMatching(/holds no policy|folded away/),
    ]);
  });
});

describe('organizations stay apart', () => {
  const two = (more: string) => `organizations:
  - { name: acme, trust_domain: acme.example, secret_references: ['env:ACME_'] }
  - { name: globex, trust_domain: globex.example, secret_references: ['env:GLOBEX_'] }
${more}`;
  const integration = (organization: string, reference: string) =>
    `  - { name: db, organization: ${organization}, provider: postgres, admin: ${reference} }\n`;
  const rule = (organization: string, required: string) =>
    `  - { name: a, organization: ${organization}, issuer: https://i.example, audience: m, jwks: https://i.example/k, require: { team: ${required} }, as: person, user: { claim: sub } }\n`;

  const cases: [string, string, number | undefined, string][] = [
    [
      'each has an integration of the same name',
      `integrations:\n${integration('acme', 'env:ACME_X')}${integration('globex', 'env:GLOBEX_X')}`,
      undefined,
      '',
    ],
    [
      'one uses the other’s secret',
      `integrations:\n${integration('acme', 'env:GLOBEX_X')}`,
      5,
      'must begin with one of the prefixes of the organization "acme": env:ACME_',
    ],
    [
      'an integration of nobody',
      'integrations:\n  - { name: db, provider: jwt, audience: x }\n',
      5,
      'say which one',
    ],
    [
      'a credential of the other’s integration',
      `integrations:\n${integration('acme', 'env:ACME_X')}credentials:\n  - { name: db/r, organization: globex, scope: { privileges: [SELECT], schemas: [p] } }\n`,
      7,
      'the organization "globex" has no integration "db"',
    ],
    [
      'trust rules that one token matches',
      `trust:\n${rule('acme', 'a')}${rule('globex', '[b, a]')}`,
      6,
      'one token could match',
    ],
    [
      'trust rules that a claim tells apart',
      `trust:\n${rule('acme', 'a')}${rule('globex', '[b, c]')}`,
      undefined,
      '',
    ],
  ];
  it.each(cases)('%s', (_name, more, at, says) => {
    const parsed = parseConfiguration(two(more));
    if (at === undefined) {
      expect(parsed.outcome).toBe('ok');
    } else {
      if (parsed.outcome !== 'rejected') throw new Error('was accepted');
      expect(parsed.problems.map((problem) => problem.line)).toContain(at);
      expect(parsed.problems.map((problem) => problem.message).join()).toContain(says);
    }
  });

  it.each([
    ["'env:ACME_'", "'env:ACME_B_'"],
    ["'env:ACME_B_'", "'env:ACME_'"],
    ["'file:/run/a/'", "'file:/run/a/b/'"],
    ["'env:A1', 'env:AB', 'env:X'", "'env:A2', 'env:ABC'"],
  ])('prefixes that overlap are refused: %s and %s', (a, b) => {
    const parsed = parseConfiguration(
      `organizations:\n  - { name: a, trust_domain: a.example, secret_references: [${a}] }\n  - { name: b, trust_domain: b.example, secret_references: [${b}] }\n`,
    );
    expect(JSON.stringify(parsed)).toContain('overlaps');
  });

  it('a trust domain belongs to one of them', () => {
    const parsed = parseConfiguration(two('').replace('globex.example', 'acme.example'));
    expect(JSON.stringify(parsed)).toContain('belongs to the organization \\"acme\\" already');
  });
});

describe('a good document', () => {
  const parsed = parseConfiguration(good);
  const configuration = parsed.outcome === 'ok' ? parsed.configuration : undefined;

  it('is accepted', () => {
    expect(parsed.outcome === 'rejected' ? parsed.problems : []).toEqual([]);
  });

  it('means what it says', () => {
    expect(configuration?.credential('acme', 'orders-db/readonly')).toMatchObject({
      organization: 'acme',
      provider: 'postgres',
      integration: { name: 'orders-db', settings: { admin: 'env:ORDERS_ADMIN_URL' } },
      scope: { privileges: ['SELECT'], schemas: ['public'] },
      settings: { connection_limit: 2 },
      ttl: { defaultSeconds: 300, maxSeconds: 900 },
      limits: { perSession: 3, concurrent: 10 },
      roles: ['analyst'],
      approval: 'off',
      writes: false,
      revocability: { kind: 'immediate' },
    });
    expect(configuration?.trust[0]).toMatchObject({
      as: 'agent',
      jwks: { url: 'https://issuer.example/jwks.json' },
      require: { kind: 'agent', ref: ['main', 'release'] },
      agent: { orchestration: { value: 'ci' }, task: { claim: 'job.name' }, instance: { claim: 'sub' } },
      role: { claim: 'role', allowed: ['analyst', 'deployer'] },
      sessionTtlSeconds: 1800,
    });
    expect(configuration?.trust[1]).toMatchObject({
      as: 'person',
      jwks: { file: '/etc/mayfly/people.jwks.json' },
      personRoles: { claim: 'groups', values: { admins: 'administrator', audit: 'auditor' } },
      sessionTtlSeconds: 3600,
    });
    expect(configuration?.policies.general.map((policy) => policy.id)).toEqual(['guests', 'policies[1]']);
    expect([...(configuration?.credentialsOf('acme') ?? [])]).toHaveLength(3);
  });

  it('limits leases that take connections, by how many each may take, unless it says otherwise', () => {
    const limits = (of: string, document = good) => {
      const outcome = parseConfiguration(document);
      return outcome.outcome === 'ok' ? outcome.configuration.credential('acme', of)?.limits : outcome;
    };
    const writer = (more: string) => good.replace('ttl: { max: 90s }', more);
    expect(limits('orders-db/writer')).toEqual({ perSession: 5, concurrent: 15 });
    expect(limits('orders-db/writer', writer('connection_limit: 1'))).toEqual({
      perSession: 5,
      concurrent: 75,
    });
    expect(limits('orders-db/writer', writer('connection_limit: 100'))).toEqual({
      perSession: 1,
      concurrent: 1,
    });
    expect(limits('orders-db/writer', writer('limits: { concurrent: 400 }'))).toEqual({
      perSession: 5,
      concurrent: 400,
    });
    expect(
      limits('orders-db/writer', writer('limits: { per_session: 1000000, concurrent: 1000000 }')),
    ).toEqual({});
    expect(limits('reports-api/read')).toEqual({});
  });

  it('fills in: a writing credential needs approval; a TTL has both ends', () => {
    expect(configuration?.credential('acme', 'orders-db/writer')).toMatchObject({
      writes: true,
      approval: 'required',
      ttl: { defaultSeconds: 90, maxSeconds: 90 },
    });
    expect(configuration?.credential('acme', 'reports-api/read')?.ttl).toEqual({
      defaultSeconds: 3600,
      maxSeconds: 3600,
    });
    const off = parseConfiguration(good.replace('ttl: { max: 90s }', 'approval: off'));
    expect(off.outcome === 'ok' && off.configuration.credential('acme', 'orders-db/writer')).toMatchObject({
      approval: 'off',
      ttl: { defaultSeconds: 300, maxSeconds: 300 },
    });
  });

  it('fills in how far a lease may be renewed; how is the provider’s', () => {
    expect(configuration?.credential('acme', 'orders-db/readonly')?.renewal).toBeUndefined();
    const renewable = parseConfiguration(
      good
        .replace(
          'ttl: { max: 90s }',
          'ttl: { max: 90s }\n    renewal: { max_life: 4h, max_count: 3, grace: 0s }',
        )
        .replace('ttl: { default: 1h }', 'ttl: { default: 1h }\n    renewal: { max_life: 1h }'),
    );
    if (renewable.outcome === 'rejected') throw new Error(JSON.stringify(renewable.problems));
    expect(renewable.configuration.credential('acme', 'orders-db/writer')?.renewal).toEqual({
      kind: 'in_place',
      maxLifeSeconds: 14_400,
      maxCount: 3,
      graceSeconds: 0,
    });
    expect(renewable.configuration.credential('acme', 'reports-api/read')?.renewal).toEqual({
      kind: 'rotation',
      maxLifeSeconds: 3600,
      maxCount: 10,
      graceSeconds: 30,
    });
  });

  it('gives nothing to another organization', () => {
    expect(configuration?.credential('globex', 'orders-db/readonly')).toBeUndefined();
    expect(configuration?.integration('globex', 'orders-db')).toBeUndefined();
    expect([...(configuration?.credentialsOf('globex') ?? [])]).toEqual([]);
    expect(configuration?.credential('acme', '__proto__')).toBeUndefined();
  });

  it('the development stack’s is one', () => {
    const path = new URL('../../../deploy/development/mayfly.yaml', import.meta.url);
    const document = readFileSync(path, 'utf8').replaceAll('${MAYFLY_DATA}', '/tmp/mayfly');
    expect(parseConfiguration(document)).toMatchObject({ outcome: 'ok' });
  });
});

describe('rights that earlier releases gave', () => {
  const older = good
    .replace('privileges: [INSERT]', 'privileges: [INSERT, REFERENCES, TRIGGER]')
    .replace('privileges: [SELECT]', 'privileges: [TRIGGER]');

  it('are refused in a document that is to be applied', () => {
    expect(parseConfiguration(older).outcome).toBe('rejected');
  });

  it('are left out of one that was applied by then, and told: the rest goes on working', () => {
    const parsed = parseConfiguration(older, { stored: true });
    if (parsed.outcome === 'rejected') throw new Error(JSON.stringify(parsed.problems));
    expect(parsed.configuration.credential('acme', 'orders-db/writer')?.scope).toEqual({
      privileges: ['INSERT'],
      schemas: ['public'],
    });
    expect(parsed.configuration.credential('acme', 'orders-db/readonly')).toBeUndefined();
    expect(parsed.configuration.credential('acme', 'reports-api/read')).toBeDefined();
    expect(parsed.leftOut).toEqual([
      expect.objectContaining({
        path: 'credentials[0].scope',
        line: line('privileges: [SELECT]'),
        message: expect.stringMatching(/^TRIGGER lets .*left out$/) as unknown,
      }),
      expect.objectContaining({
        path: 'credentials[1].scope',
        message: expect.stringMatching(/^REFERENCES lets .*; TRIGGER lets /) as unknown,
      }),
    ]);
  });

  it('stay where the credential names them', () => {
    const named = good
      .replace('privileges: [INSERT]', 'privileges: [INSERT, REFERENCES]')
      .replace('ttl: { max: 90s }', 'unsafe: [REFERENCES]');
    for (const stored of [false, true]) {
      const parsed = parseConfiguration(named, { stored });
      if (parsed.outcome === 'rejected') throw new Error(JSON.stringify(parsed.problems));
      expect(parsed.configuration.credential('acme', 'orders-db/writer')?.scope).toMatchObject({
        privileges: ['INSERT', 'REFERENCES'],
      });
      expect(parsed.leftOut).toEqual([]);
    }
  });

  it('are the only thing that is left out: whatever else is wrong is a problem', () => {
    const broken = older
      .replace('TRIGGER], schemas: [public]', 'TRIGGER], schemas: [public], tables: []')
      .replace('privileges: [TRIGGER]', 'privileges: [SELECT, TRIGGER]');
    expect(parseConfiguration(broken, { stored: true }).outcome).toBe('rejected');
    const typo = good.replace('privileges: [INSERT]', 'privileges: [INSRT]');
    expect(parseConfiguration(typo, { stored: true }).outcome).toBe('rejected');
  });
});

describe('agents on another server, of which an earlier release was told nothing', () => {
  it('are told in a document that was applied by then, and everything goes on', () => {
    const older = good.replace('env:ORDERS_ADMIN_URL', '$&\n    agent_host: replicas.example');
    expect(parseConfiguration(older).outcome).toBe('rejected');
    const parsed = parseConfiguration(older, { stored: true });
    if (parsed.outcome === 'rejected') throw new Error(JSON.stringify(parsed.problems));
    expect(parsed.configuration.credential('acme', 'orders-db/readonly')).toBeDefined();
    expect(parsed.leftOut).toEqual([expect.objectContaining({ path: 'integrations[0].agent_host' })]);
  });
});

describe('a document of any kind', () => {
  it.each([
    ['nothing', ''],
    ['a text', 'hello'],
    ['a list', '- a'],
    ['a number', '1'],
    ['brackets', '['.repeat(20_000)],
    ['dashes', '- '.repeat(20_000)],
    ['question marks', '? '.repeat(20_000)],
    ['braces', '{a: '.repeat(20_000)],
    ['one that is too large', `a: ${'x'.repeat(800_000)}`],
    ['NUL', '\0'],
    ['an organization without anything', 'organizations: [{}]'],
    [
      'numbers for blocks',
      'organizations: [1, null, [], "x"]\ntrust: [1]\nintegrations: [2]\ncredentials: [3, null]',
    ],
    ['an alias bomb', 'a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\norganizations: *c'],
  ])('%s is rejected with a problem', (_name, document) => {
    const parsed = parseConfiguration(document);
    expect(parsed.outcome === 'rejected' ? parsed.problems.length : 0).toBeGreaterThan(0);
  });

  it('many keys cost time in proportion', () => {
    const start = performance.now();
    parseConfiguration(Array.from({ length: 50_000 }, (_, index) => `k${index}: 1`).join('\n'));
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it('never throws, whichever line is replaced by nonsense', () => {
    const lines = good.split('\n');
    fc.assert(
      fc.property(
        fc.nat(lines.length - 1),
        fc.oneof(
          fc.string(),
          fc.constantFrom('  - name: x', '    as: agent', '', '  permit (', 'null: null', '? {}'),
        ),
        (index, replacement) => {
          const parsed = parseConfiguration(lines.with(index, replacement).join('\n'));
          if (parsed.outcome === 'rejected') expect(parsed.problems.length).toBeGreaterThan(0);
        },
      ),
      { numRuns: 300 },
    );
  });
});
