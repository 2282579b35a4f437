/** Whatever a server, an upstream behind it or a document says in any field that is printed: no terminal is steered by it. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http, type HttpOperation } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, fakeTraceId } from '../fixtures/gateway.ts';
import { revocationView, revokedLease } from '../fixtures/revocation.ts';

const nasty = '\u001b]0;x\u0007\u001b[2J\u009b31m\u202eevil\u2069\u200b\t\r\nmayfly: forged';
const id = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';
const time = '2026-11-20T19:00:00.000Z';
const agent = 'spiffe://acme.example/agent/demo/report/agent-1';
const { listCredentials, listLeases, deleteLease, renewLease } = http.leases;
const { queryAudit, listSessions, closeSession, listBlocks, addBlock, removeBlock, getConfig, putConfig } =
  http.administration;
const { listRevocations, getRevocation, revoke } = http.administration;

const block = {
  block_id: id,
  subject: { kind: 'user', id: 'ada@example.com' },
  reason: 'r',
  added_by: 'spiffe://acme.example/person/grace',
  added_at: time,
};
const session = {
  session_id: id,
  kind: 'person',
  agent_id: agent,
  person_roles: ['administrator'],
  user: 'ada@example.com',
  trust_rule: 'people',
  opened_at: time,
  expires_at: time,
};
const lease = {
  lease_id: id,
  state: 'active',
  credential: 'orders-db/readonly',
  provider: 'postgres',
  agent_id: agent,
  session_id: id,
  scope: { privileges: ['SELECT'] },
  ttl_seconds: 300,
  expires_at: time,
  renewable: false,
  renewals: 0,
  trace_id: fakeTraceId,
  failing: { attempts: 7, last_error: 'provider_rejected', next_attempt_at: time },
};
const listing = {
  credential: 'orders-db/readonly',
  provider: 'postgres',
  description: 'Read.',
  scope: { privileges: ['SELECT'], schemas: ['public'] },
  ttl: { default_seconds: 300, max_seconds: 900 },
  limits: { per_session: 3 },
  revocability: { kind: 'immediate' },
  renewable: false,
  writes: false,
  approval: 'off',
};
const event = {
  ...{ seq: 1, id, time, type: 'credential.issued', trace_id: fakeTraceId, reason: 'r', credential: 'a/b' },
  data: { deep: ['x'] },
};

/** Each command that prints an answer, and an answer. */
const printed: [string[], HttpOperation, object][] = [
  [['credentials'], listCredentials, { credentials: [listing] }],
  [['leases'], listLeases, { leases: [lease] }],
  [['leases', '--failing'], listLeases, { leases: [lease] }],
  [['audit'], queryAudit, { events: [event] }],
  [['sessions'], listSessions, { sessions: [session] }],
  [['sessions', 'close', id, '--reason', 'x'], closeSession, { session_id: id, closed: true, matched: 2 }],
  [['blocks'], listBlocks, { blocks: [block] }],
  [['block', '--user', 'ada@example.com', '--reason', 'x'], addBlock, { block }],
  [['unblock', id], removeBlock, { block }],
  [['revocations'], listRevocations, { revocations: [revocationView()] }],
  [
    ['revocations', id],
    getRevocation,
    { revocation: revocationView({ matched: 1 }), leases: [revokedLease(1)] },
  ],
  [['revoke', '--user', 'ada@example.com', '--reason', 'x'], revoke, revocationView()],
  [['revoke', id], deleteLease, { lease_id: id, outcome: 'eventual', by: time }],
  [['config', 'get'], getConfig, { version: 3, document: 'a: b', applied_at: time }],
];

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  Object.assign(line.env, { NO_COLOR: '1', XDG_RUNTIME_DIR: line.cwd });
});
afterEach(() => gateway.stop());

/** The answer with hostile text in every field of it in which the contract lets text be. */
function hostile(operation: HttpOperation, answer: object): { answer: object; changed: number } {
  let made: object = answer;
  let changed = 0;
  for (const path of textsIn(answer)) {
    const attempt = structuredClone(made);
    const at = path
      .slice(0, -1)
      .reduce<Record<string, unknown>>((o, key) => o[key] as Record<string, unknown>, attempt as never);
    at[path.at(-1) ?? ''] = `${String(at[path.at(-1) ?? ''])}${nasty}`;
    if (!operation.output.safeParse(attempt).success) continue;
    made = attempt;
    changed++;
  }
  return { answer: made, changed };
}

function textsIn(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value === 'string') return [[...path]];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, part]) => textsIn(part, [...path, key]));
}

const steering = /[\p{Cf}\p{Zl}\p{Zp}]|(?!\n)\p{Cc}/u;

describe('hostile values', () => {
  it.each(printed)('steer no terminal: %j', async (args, operation, answer) => {
    const { answer: given, changed } = hostile(operation, answer);
    // An outcome and a UUID leave no room for text.
    if (operation !== deleteLease && operation !== closeSession) expect(changed).toBeGreaterThan(0);
    gateway.handlers.set(operation.name, () => given);
    line.isTerminal = true;
    const usual = await line.run(...args);
    expect(usual).toMatchObject({ status: 0 });
    expect(usual.stdout + usual.stderr).not.toMatch(steering);
    if (operation !== getConfig) expect(usual.stdout + usual.stderr).not.toMatch(/^mayfly: forged/m);
    const json = await line.run(...args, '--json');
    expect(json.stdout + json.stderr).not.toMatch(steering);
    // Nothing is lost: it is the same value.
    if (changed > 0) expect(textsIn(JSON.parse(json.stdout)).length).toBeGreaterThan(0);
    if (changed > 0)
      expect(JSON.stringify(JSON.parse(json.stdout))).toContain(JSON.stringify(nasty).slice(1, -1));
  });

  it('steer no terminal as reasons of refusals, at the token endpoint and elsewhere', async () => {
    for (const operation of [http.oauth.token, listCredentials, renewLease]) {
      gateway.refuse(operation, 'policy_denied', nasty);
      for (const args of [['credentials'], ['renew', id]]) {
        const { stdout, stderr } = await line.run(...args);
        expect(stdout + stderr).not.toMatch(steering);
        expect(stderr).not.toMatch(/^mayfly: forged/m);
      }
      gateway.handlers.delete(operation.name);
    }
  });

  it('steer no terminal as what policy says is wrong with a document', async () => {
    const problems = [
      { path: `a${nasty}`, message: nasty, line: 1, column: 1 },
      { path: nasty, message: nasty },
    ];
    gateway.handlers.set(putConfig.name, () => ({ outcome: 'rejected', problems }));
    line.write('mayfly.yaml', 'organizations: []\n');
    for (const more of [[], ['--json']]) {
      const { stdout, stderr } = await line.run('apply', '-f', 'mayfly.yaml', ...more);
      expect(stdout).toContain('u001b');
      expect(stdout + stderr).not.toMatch(steering);
    }
  });

  it('keep columns aligned', async () => {
    const events = [{ ...event, credential: nasty }, { ...event, credential: 'a\tb/c' }, event];
    gateway.handlers.set(queryAudit.name, () => ({ events }));
    const [head = '', ...rows] = (await line.run('audit')).stdout.trimEnd().split('\n');
    expect(rows).toHaveLength(3);
    for (const row of rows)
      expect(row.slice(head.indexOf('LEASE')).trimStart()).toBe(row.slice(head.indexOf('LEASE')));
  });

  it('go as they are to a program that reads them back, and are made visible on a terminal', async () => {
    gateway.handlers.set(getConfig.name, () => ({ version: 3, document: `# ${nasty}\n` }));
    expect((await line.run('config', 'get')).stdout).toBe(`# ${nasty}\n`);
    line.isTerminal = true;
    expect((await line.run('config', 'get')).stdout).not.toMatch(steering);
  });

  it('steer no terminal as arguments', async () => {
    for (const args of [[nasty], ['get', 'a/b', '--ttl', nasty], ['config', 'check', nasty]]) {
      const { stdout, stderr } = await line.run(...args);
      expect(stdout + stderr).not.toMatch(steering);
    }
  });
});

describe('the command', () => {
  it('prints by the printer alone', () => {
    const folder = join(import.meta.dirname, '..');
    const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => join(folder, name))
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.spec.ts') && statSync(path).isFile());
    const writers = sources
      .filter((path) =>
        /\b(stdout|stderr)\b|console\./.test(
          readFileSync(path, 'utf8').replaceAll(/\/\*.*?\*\/|\/\/.*/gs, ''),
        ),
      )
      .map((path) => relative(folder, path));
    expect(writers.sort()).toEqual([
      'command-context.ts',
      'fixtures/command-line.ts',
      'io.ts',
      'main.ts',
      'output/printer.ts',
    ]);
  });
});
