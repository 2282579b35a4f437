import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { blockedReason, errorTable, http, type ErrorCode } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, fakeTraceId } from '../fixtures/gateway.ts';

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
});
afterEach(() => gateway.stop());

const { listCredentials, listLeases } = http.leases;
const { queryAudit, putConfig, getConfig } = http.administration;

const listing = {
  credential: 'orders-db/readonly',
  provider: 'postgres',
  description: 'Read the orders.',
  scope: { privileges: ['SELECT'], schemas: ['public'] },
  ttl: { default_seconds: 300, max_seconds: 900 },
  limits: { per_session: 3 },
  revocability: { kind: 'immediate' },
  renewable: false,
  writes: false,
  approval: 'off',
};

describe('mayfly credentials', () => {
  it('prints an aligned table', async () => {
    gateway.handlers.set(listCredentials.name, () => ({ credentials: [listing] }));
    const { status, stdout, stderr } = await line.run('credentials');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout.split('\n')).toEqual([
      'CREDENTIAL          PROVIDER  SCOPE                             TTL  MAX  RENEWABLE  ENDS     APPROVAL  DESCRIPTION',
      'orders-db/readonly  postgres  privileges=SELECT,schemas=public  5m   15m  no         at once  off       Read the orders.',
      '',
    ]);
  });

  it('tells how long a lease can be made to live, and where that takes new secrets', async () => {
    const renewal = { max_life_seconds: 14_400, max_count: 10, grace_seconds: 30 };
    const credentials = (['in_place', 'rotation'] as const).map((kind) => ({
      ...listing,
      renewable: true,
      renewal: { kind, ...renewal },
    }));
    gateway.handlers.set(listCredentials.name, () => ({ credentials }));
    const lines = (await line.run('credentials')).stdout.split('\n');
    expect(lines.slice(1, 3).map((text) => text.split(/ {2,}/)[5])).toEqual(['to 4h', 'to 4h, new secrets']);
  });

  it('prints what the gateway said with --json', async () => {
    gateway.handlers.set(listCredentials.name, () => ({ credentials: [listing] }));
    expect(JSON.parse((await line.run('credentials', '--json')).stdout)).toEqual({ credentials: [listing] });
  });

  it('opens a session with a recipient key, in one trace with the call', async () => {
    gateway.handlers.set(listCredentials.name, () => ({ credentials: [] }));
    await line.run('credentials');
    const [opened, listed] = gateway.calls;
    expect(opened?.input).toMatchObject({
      subject_token: line.env['MAYFLY_IDENTITY_TOKEN'],
      recipient_key: expect.stringContaining('"crv":"X25519"'),
    });
    expect(opened?.input['recipient_key']).not.toContain('"d"');
    expect(listed?.authorization).toBe('Bearer session-token');
    expect(listed?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(opened?.traceparent).toBe(listed?.traceparent);
  });

  it('continues the trace of its caller', async () => {
    gateway.handlers.set(listCredentials.name, () => ({ credentials: [] }));
    line.env['TRACEPARENT'] = `00-${fakeTraceId}-b7ad6b7169203331-01`;
    await line.run('credentials');
    expect(gateway.calls[0]?.traceparent).toBe(line.env['TRACEPARENT']);
  });

  it('has colour on a terminal, unless NO_COLOR is set', async () => {
    gateway.handlers.set(listCredentials.name, () => ({ credentials: [listing] }));
    line.isTerminal = true;
    expect((await line.run('credentials')).stdout).toContain('\u001b[');
    line.env['NO_COLOR'] = '1';
    expect((await line.run('credentials')).stdout).not.toContain('\u001b[');
  });
});

describe('mayfly leases', () => {
  const lease = {
    lease_id: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21',
    state: 'active',
    credential: 'orders-db/readonly',
    provider: 'postgres',
    agent_id: 'spiffe://acme.example/agent/demo/report/agent-1',
    session_id: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a22',
    scope: { privileges: ['SELECT'] },
    ttl_seconds: 300,
    expires_at: '2026-11-20T19:04:32.000Z',
    renewable: false,
    renewals: 0,
    trace_id: fakeTraceId,
  };

  it('says when each ends, asks for live ones, and for all with --all', async () => {
    gateway.handlers.set(listLeases.name, () => ({ leases: [lease] }));
    line.now = new Date('2026-11-20T19:00:00Z');
    expect((await line.run('leases')).stdout).toContain('  in 4m 32s  ');
    const all = await line.run('leases', '--all', '--json');
    expect(JSON.parse(all.stdout)).toMatchObject({ leases: [{ expires_at: lease.expires_at }] });
    expect(gateway.called(listLeases).map(({ input }) => input['state'])).toEqual(['live', 'all']);
  });

  it('tells which of those that fail may still work, and which have only left something behind', async () => {
    const failing = { attempts: 7, last_error: 'provider_rejected', next_attempt_at: lease.expires_at };
    const leases = [
      { ...lease, state: 'revocation_failed', failing },
      { ...lease, state: 'expired', cleanup: 'pending', failing },
      { ...lease, state: 'revoked', cleanup: 'pending', failing },
      { ...lease, state: 'orphaned', failing },
      { ...lease, state: 'failed', cleanup: 'pending', failing },
    ];
    gateway.handlers.set(listLeases.name, () => ({ leases }));
    const { stdout, stderr } = await line.run('leases', '--failing');
    const rows = stdout
      .trim()
      .split('\n')
      .map((text) => text.split(/ {2,}/).slice(2, 4));
    expect(rows).toEqual([
      ['STATE', 'ACCESS'],
      ['revocation_failed', 'may still work'],
      ['expired', 'ended'],
      ['revoked', 'ended'],
      ['orphaned', 'never released'],
      ['failed', 'never released'],
    ]);
    expect(stderr).toBe(
      'mayfly: 1 cannot be ended so far and may still work; 2 ended: nothing works, what was left upstream is being removed; 2 never released\n',
    );
    expect((await line.run('leases')).stdout).not.toContain('ACCESS');
    expect((await line.run('leases')).stderr).toBe('');
    const json = await line.run('leases', '--failing', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      leases: leases.map(({ state }) => ({ state })),
    });
    expect(json.stderr).toBe('');
  });

  it('says that there are none, beside the result', async () => {
    const failing = { attempts: 7, last_error: 'provider_unavailable', next_attempt_at: lease.expires_at };
    gateway.handlers.set(listLeases.name, () => ({ leases: [{ ...lease, failing }] }));
    const shown = (await line.run('leases', '--failing')).stdout;
    expect(shown).toContain('provider_unavailable');
    expect(shown).toMatch(/ 7 /);
    gateway.handlers.set(listLeases.name, () => ({ leases: [] }));
    expect(await line.run('leases')).toEqual({
      status: 0,
      stdout: '',
      stderr: 'mayfly: There are no live leases.\n',
    });
  });
});

describe('mayfly audit', () => {
  const event = (seq: number) => ({
    seq,
    id: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21',
    time: '2026-11-20T18:59:00.000Z',
    type: 'credential.issued',
    trace_id: fakeTraceId,
    data: {},
  });

  it('follows pages up to the limit, and says when there is more', async () => {
    gateway.handlers.set(queryAudit.name, ({ limit, after = 0 }) => ({
      events: Array.from({ length: Number(limit) }, (_, index) => event(Number(after) + index + 1)),
      next: Number(after) + Number(limit),
    }));
    const { stdout, stderr } = await line.run('audit', '--limit', '1500', '--json', '--trace', fakeTraceId);
    const { events, next } = JSON.parse(stdout) as { events: { seq: number }[]; next: number };
    expect([events.length, events.at(-1)?.seq, next]).toEqual([1500, 1500, 1500]);
    expect(stderr).toContain('there are more');
    expect(gateway.called(queryAudit)[0]?.input).toEqual({ trace_id: fakeTraceId, limit: '1000' });
  });

  it('lets nobody steer the terminal', async () => {
    gateway.handlers.set(queryAudit.name, () => ({
      events: [{ ...event(1), reason: 'a\u001b[2J\u202eb\n' }],
    }));
    expect((await line.run('audit')).stdout).toContain(String.raw`a\u001b[2J\u202eb\n`);
  });

  it('without a filter shows the last hour', async () => {
    gateway.handlers.set(queryAudit.name, () => ({ events: [event(1)] }));
    line.now = new Date('2026-11-20T19:00:00Z');
    const { stdout } = await line.run('audit');
    expect(stdout).toContain('2026-11-20 18:59:00Z  credential.issued');
    expect(gateway.called(queryAudit)[0]?.input['since']).toBe('2026-11-20T18:00:00.000Z');
  });
});

describe('mayfly apply and mayfly config', () => {
  const problems = [{ path: 'credentials[0].ttl.max', line: 7, column: 12, message: 'must be at most 1h' }];

  it('applies a document, with the version that must be running', async () => {
    line.write('mayfly.yaml', 'organizations: []\n');
    gateway.handlers.set(putConfig.name, () => ({
      outcome: 'applied',
      version: 8,
      unchanged: false,
      revocations: [],
      revocations_total: 0,
      sessions_ended: 0,
    }));
    const { status, stdout } = await line.run('apply', '-f', 'mayfly.yaml', '--expected-version', '7');
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'version 8 is running\n' });
    expect(gateway.called(putConfig)[0]?.input).toEqual({
      document: 'organizations: []\n',
      expected_version: 7,
      end_leases: false,
    });
  });

  it('names the revocations of what the document removes, and how to follow them', async () => {
    line.write('mayfly.yaml', 'organizations: []\n');
    const revocations = [
      {
        organization: 'globex',
        subject: { kind: 'integration', id: 'plans' },
        revocation_id: '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21',
      },
    ];
    const answer = {
      outcome: 'applied',
      version: 8,
      unchanged: false,
      revocations,
      revocations_total: 3,
      sessions_ended: 2,
    };
    gateway.handlers.set(putConfig.name, () => answer);
    const { stdout, stderr } = await line.run('apply', '-f', 'mayfly.yaml', '--end-leases');
    expect(gateway.called(putConfig)[0]?.input).toMatchObject({ end_leases: true });
    expect(stdout).toBe('version 8 is running\n');
    expect(stderr).toBe(
      'mayfly: leases of integration plans end; globex follows it by `mayfly revocations 0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21 --wait`\n' +
        'mayfly: and 2 more; `mayfly revocations` lists them\n' +
        'mayfly: 2 sessions that it no longer admits ended, with their leases\n',
    );
    const json = await line.run('apply', '-f', 'mayfly.yaml', '--json');
    expect(JSON.parse(json.stdout)).toEqual(answer);
  });

  it('warns of credentials that can never be granted, and takes the document all the same', async () => {
    const document = `organizations: [{ name: acme, trust_domain: acme.example }]
integrations: [{ name: tool, provider: jwt, audience: https://tool.example }]
credentials:
  - name: tool/read
    scope: { scopes: ['read:a:b'] }
`;
    line.write('mayfly.yaml', document);
    const warning =
      'mayfly: mayfly.yaml:4:11: warning: "tool/read" can never be granted: no trust rule admits agents of the organization "acme"; add one\n';
    expect(await line.run('config', 'check')).toEqual({
      status: 0,
      stdout: 'mayfly.yaml is right\n',
      stderr: warning,
    });
    const json = await line.run('config', 'check', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({ outcome: 'ok', warnings: [{ line: 4, column: 11 }] });
    const answer = {
      outcome: 'applied',
      version: 8,
      unchanged: false,
      revocations: [],
      revocations_total: 0,
      sessions_ended: 0,
    };
    gateway.handlers.set(putConfig.name, () => answer);
    expect(await line.run('apply', '-f', 'mayfly.yaml')).toEqual({
      status: 0,
      stdout: 'version 8 is running\n',
      stderr: warning,
    });
  });

  describe('whose integration refers to a connection URL that is of no use', () => {
    const document = `organizations:
  - { name: acme, trust_domain: acme.example, secret_references: ['env:ACME_', 'file:FOLDER/', 'file:/dev/'] }
integrations:
  - name: orders-db
    provider: postgres
    admin: REFERENCE
`;
    const documentWith = (reference: string) =>
      document.replace('FOLDER', line.cwd).replace('REFERENCE', reference);
    const write = (reference: string) => line.write('mayfly.yaml', documentWith(reference));
    const problem = {
      status: 2,
      stdout: expect.stringMatching(
        /^mayfly\.yaml:6:12: the connection URL that it leads to is refused: .* write them as %40, %2F, %3F and %23\n$/,
      ),
      stderr: 'mayfly: mayfly.yaml was rejected: 1 problem\n',
    };
    const wrong = 'postgres://admin:hun/ter2@db/orders';

    it.each([
      ['config check', ['config', 'check']],
      ['apply', ['apply', '-f', 'mayfly.yaml']],
    ])('refuses it where the secret can be seen, without a word of it: %s', async (_name, command) => {
      write('env:ACME_URL');
      line.env['ACME_URL'] = wrong;
      const byVariable = await line.run(...command);
      expect(byVariable).toEqual(problem);
      write(`file:${line.write('url', `${wrong}\n`)}`);
      expect(await line.run(...command)).toEqual(problem);
      expect(byVariable.stdout + byVariable.stderr).not.toMatch(/hun|ter2|admin:/);
      expect(gateway.called(putConfig)).toEqual([]);
    });

    it('takes it where the secret is right or can not be seen', async () => {
      write('env:ACME_URL');
      expect((await line.run('config', 'check')).status).toBe(0);
      line.env['ACME_URL'] = 'postgres://admin:hun%2Fter2@db/orders\n';
      expect((await line.run('config', 'check')).status).toBe(0);
      line.write('folder/x', '');
      for (const path of [`${line.cwd}/folder`, `${line.cwd}/none`, '/dev/zero']) {
        write(`file:${path}`);
        expect((await line.run('config', 'check')).status).toBe(0);
      }
    });

    it('leaves every other problem to the policy service, which may be of another version', async () => {
      write('env:ACME_URL');
      line.env['ACME_URL'] = wrong;
      line.write('mayfly.yaml', `${documentWith('env:ACME_URL')}later: []\n`);
      gateway.handlers.set(putConfig.name, () => ({ outcome: 'rejected', problems }));
      const { stdout } = await line.run('apply', '-f', 'mayfly.yaml');
      expect(stdout).toBe('mayfly.yaml:7:12: must be at most 1h\n');
    });
  });

  it('names every place of a rejected one', async () => {
    line.write('mayfly.yaml', 'x');
    gateway.handlers.set(putConfig.name, () => ({ outcome: 'rejected', problems }));
    expect(await line.run('apply', '-f', 'mayfly.yaml')).toEqual({
      status: 2,
      stdout: 'mayfly.yaml:7:12: must be at most 1h\n',
      stderr: 'mayfly: mayfly.yaml was rejected: 1 problem\n',
    });
  });

  it('prints the running document to stdout alone', async () => {
    gateway.handlers.set(getConfig.name, () => ({ version: 3, document: 'organizations: []\n' }));
    expect(await line.run('config', 'get')).toEqual({
      status: 0,
      stdout: 'organizations: []\n',
      stderr: 'mayfly: version 3\n',
    });
  });

  it('checks a document offline', async () => {
    line.write('mayfly.yaml', 'organizations: []\nsurprise: 1\n');
    const { status, stdout } = await line.run('config', 'check');
    expect(status).toBe(2);
    expect(stdout).toMatch(/^mayfly\.yaml:2:\d+: .*surprise/m);
    expect(gateway.calls).toEqual([]);
  });

  it('says that a document does not exist', async () => {
    const { status, stderr } = await line.run('config', 'check', 'nowhere.yaml');
    expect({ status, stderr }).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('does not exist'),
    });
  });
});

describe('errors', () => {
  it.each(Object.keys(errorTable) as ErrorCode[])(
    '%s: one sentence, what to do, the trace id, its exit status',
    async (code) => {
      gateway.refuse(listCredentials, code, 'this is the reason');
      const { status, stdout, stderr } = await line.run('credentials');
      expect({ status, stdout }).toEqual({ status: errorTable[code].exit, stdout: '' });
      const lines = stderr.trimEnd().split('\n');
      expect(lines).toEqual([
        `mayfly: This is the reason. (${code})`,
        expect.stringMatching(/^ {2}\S.+\.$/),
        `  trace ${fakeTraceId}`,
      ]);
    },
  );

  it.each([
    ['unauthenticated', 10],
    ['policy_denied', 11],
    ['rate_limited', 21],
    ['dependency_unavailable', 18],
  ] as const)('of the token endpoint: %s exits with %d', async (code, exit) => {
    gateway.refuse(http.oauth.token, code, 'no');
    const { status, stderr } = await line.run('credentials');
    expect(status).toBe(exit);
    expect(stderr).toContain(fakeTraceId);
  });

  it('tells the blocked whom to ask, and nothing of identity tokens', async () => {
    gateway.refuse(http.oauth.token, 'policy_denied', blockedReason);
    const { stderr } = await line.run('credentials');
    expect(stderr).toContain('Blocked by an administrator. (policy_denied)\n  Ask an administrator');
  });

  it('exits with 69 when nothing answers, and says how to start it', async () => {
    await gateway.stop();
    const { status, stderr } = await line.run('credentials');
    expect(status).toBe(69);
    expect(stderr).toMatch(/can't be reached \(ECONNREFUSED\); is it running\?\n.*npm start/);
  });

  it('exits with 2 for what is no request, without asking anyone', async () => {
    for (const args of [
      ['nonsense'],
      ['get'],
      ['get', 'a/b', '--ttl', 'x'],
      ['get', 'a/b', '--format', 'xml'],
      ['leases', '--nope'],
      ['leases', 'excess'],
      [],
    ]) {
      expect([args, (await line.run(...args)).status]).toEqual([args, 2]);
    }
    expect(gateway.calls).toEqual([]);
  });

  it('never show a stack trace, also for an answer that is not Mayfly', async () => {
    gateway.handlers.set(listCredentials.name, () => {
      throw new Error('not in the contract');
    });
    const { status, stderr } = await line.run('credentials');
    expect(status).toBe(70);
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe('help', () => {
  const commands = [
    'get',
    'exec',
    'credentials',
    'leases',
    'revoke',
    'revocations',
    'block',
    'unblock',
    'blocks',
    'audit',
    'audit verify',
    'apply',
    'version',
    'config check',
    'config get',
    'config history',
    'config diff',
    'config rollback',
    'config',
  ];
  it.each(commands)('of %s has examples', async (name) => {
    const { status, stdout } = await line.run(...name.split(' '), '--help');
    expect(status).toBe(0);
    expect(stdout).toContain(`Examples:\n  `);
    expect(stdout).toContain(`mayfly ${name}`);
  });

  it.each(commands)('of %s is the same by `mayfly help`', async (name) => {
    const words = name.split(' ');
    expect(await line.run('help', ...words)).toEqual(await line.run(...words, '--help'));
  });

  it('and the version need no gateway', async () => {
    expect((await line.run('--help')).status).toBe(0);
    expect((await line.run('version')).stdout).toMatch(/^mayfly \d+\.\d+\.\d+\n$/);
    expect(gateway.calls).toEqual([]);
  });
});
