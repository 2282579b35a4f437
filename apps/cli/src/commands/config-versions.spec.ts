/** The versions of the configuration document, from the command line. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, Refusal } from '../fixtures/gateway.ts';

let gateway: FakeGateway;
let line: CommandLine;
const { putConfig, getConfig, listConfigVersions } = http.administration;

/** By version; the last is running. */
const documents = [
  'organizations: []\n',
  'organizations: []\ntrust: []\n',
  'organizations: []\ntrust: []\npolicies: ""\n',
];
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  gateway.handlers.set(getConfig.name, (input) => {
    const version = Number(input['version'] ?? documents.length);
    const document = documents[version - 1];
    if (document === undefined) throw new Refusal('not_found', 'No such version of the configuration.');
    return {
      version,
      document,
      applied_at: '2026-11-20T18:00:00.000Z',
      applied_by: 'bootstrap',
      applied_from: '/etc/mayfly.yaml',
    };
  });
});
afterEach(() => gateway.stop());

const applied = {
  outcome: 'applied',
  version: 4,
  unchanged: false,
  revocations: [],
  revocations_total: 0,
  sessions_ended: 0,
};

describe('mayfly config history', () => {
  const entry = (version: number) => ({
    version,
    sha256: 'ab',
    applied_at: '2026-11-20T18:00:00.000Z',
    applied_by: 'recovery',
    applied_from: 'host db1, user root',
    ...(version === 3 ? { same_as: 1 } : {}),
  });

  it('tells who applied what, when and from where', async () => {
    gateway.handlers.set(listConfigVersions.name, () => ({ versions: [entry(3), entry(2)] }));
    const { status, stdout } = await line.run('config', 'history');
    expect(status).toBe(0);
    expect(stdout.split('\n')).toEqual([
      expect.stringMatching(/^VERSION +APPLIED +BY +FROM/),
      '3        2026-11-20 18:00:00Z  recovery  host db1, user root  as 1',
      '2        2026-11-20 18:00:00Z  recovery  host db1, user root',
      '',
    ]);
  });

  it('asks for as many as are wanted, page by page', async () => {
    gateway.handlers.set(listConfigVersions.name, ({ before, limit }) => {
      const newest = before === undefined ? 300 : Number(before) - 1;
      const versions = Array.from({ length: Number(limit) }, (_, n) => entry(newest - n));
      return { versions, next: versions.at(-1)?.version };
    });
    const { stdout } = await line.run('config', 'history', '--limit', '150', '--json');
    const { versions } = JSON.parse(stdout) as { versions: { version: number }[] };
    expect(versions.map(({ version }) => version)).toEqual(Array.from({ length: 150 }, (_, n) => 300 - n));
    expect(gateway.called(listConfigVersions).map(({ input }) => input)).toEqual([
      { limit: '100' },
      { limit: '50', before: '201' },
    ]);
  });
});

describe('mayfly config get', () => {
  it('prints an earlier version, and says where it came from', async () => {
    expect(await line.run('config', 'get', '1')).toEqual({
      status: 0,
      stdout: 'organizations: []\n',
      stderr: 'mayfly: version 1, applied 2026-11-20 18:00:00Z by bootstrap from /etc/mayfly.yaml\n',
    });
    expect((await line.run('config', 'get', '9')).status).toBe(19);
    expect((await line.run('config', 'get', 'nine')).status).toBe(2);
  });
});

describe('mayfly config diff', () => {
  it('compares the running version with the one before it, or with any', async () => {
    const text =
      '--- version 2\n+++ version 3\n@@ -1,2 +1,3 @@\n organizations: []\n trust: []\n+policies: ""\n';
    expect(await line.run('config', 'diff')).toMatchObject({ status: 0, stdout: text });
    expect((await line.run('config', 'diff', '2')).stdout).toBe(text);
    expect((await line.run('config', 'diff', '2', '3')).stdout).toBe(text);
    expect((await line.run('config', 'diff', '3', '1')).stdout).toContain('-trust: []\n-policies: ""\n');
  });

  it('compares the running version, or any, with a file', async () => {
    line.write('mayfly.yaml', 'organizations: []\ntrust: []\n');
    expect((await line.run('config', 'diff', '-f', 'mayfly.yaml')).stdout).toBe(
      '--- version 3\n+++ mayfly.yaml\n@@ -1,3 +1,2 @@\n organizations: []\n trust: []\n-policies: ""\n',
    );
    expect(await line.run('config', 'diff', '2', '-f', 'mayfly.yaml')).toEqual({
      status: 0,
      stdout: '',
      stderr: 'mayfly: version 2 and mayfly.yaml are the same\n',
    });
    expect((await line.run('config', 'diff', '1', '2', '-f', 'mayfly.yaml')).status).toBe(2);
  });

  it('gives the same as JSON', async () => {
    expect(JSON.parse((await line.run('config', 'diff', '--json')).stdout)).toEqual({
      from: 'version 2',
      to: 'version 3',
      hunks: [
        {
          from_line: 1,
          to_line: 1,
          lines: [
            { change: 'same', text: 'organizations: []' },
            { change: 'same', text: 'trust: []' },
            { change: 'added', text: 'policies: ""' },
          ],
        },
      ],
    });
  });

  it('steers no terminal by what a document holds', async () => {
    documents.push('# \u001b[2J\u202e\n');
    try {
      expect((await line.run('config', 'diff')).stdout).not.toMatch(/[\u001b\u202e]/);
    } finally {
      documents.pop();
    }
  });

  it('has nothing to compare the first version with', async () => {
    gateway.handlers.set(getConfig.name, () => ({ version: 1, document: 'x' }));
    expect(await line.run('config', 'diff')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('no version before'),
    });
  });
});

describe('mayfly config rollback', () => {
  it('applies the text of an earlier version, unless another was applied meanwhile', async () => {
    gateway.handlers.set(putConfig.name, () => applied);
    expect(await line.run('config', 'rollback', '1')).toMatchObject({
      status: 0,
      stdout: 'version 4 is running\n',
    });
    expect(gateway.called(putConfig)[0]?.input).toEqual({
      document: documents[0],
      expected_version: 3,
      end_leases: false,
    });
  });

  it('goes through the checks of every document, and names the version where it is wrong', async () => {
    const problems = [{ path: 'trust', line: 2, column: 1, message: 'must be a list' }];
    gateway.handlers.set(putConfig.name, () => ({ outcome: 'rejected', problems }));
    expect(await line.run('config', 'rollback', '2')).toMatchObject({
      status: 2,
      stdout: 'version 2:2:1: must be a list\n',
    });
    gateway.refuse(
      putConfig,
      'conflict',
      'This document would lock you out (lock_me_out applies it all the same): x',
    );
    const refused = await line.run('config', 'rollback', '2');
    expect(refused).toMatchObject({ status: 20, stderr: expect.stringContaining('--lock-me-out') });
    await line.run('config', 'rollback', '2', '--lock-me-out', '--end-leases');
    expect(gateway.called(putConfig).at(-1)?.input).toMatchObject({ lock_me_out: true, end_leases: true });
    expect((await line.run('config', 'rollback', '9')).status).toBe(19);
    expect((await line.run('config', 'rollback')).status).toBe(2);
  });
});

describe('mayfly apply --dry-run', () => {
  const preview = {
    outcome: 'would_apply',
    version: 3,
    unchanged: false,
    changes: [
      {
        organization: 'acme',
        kind: 'credential',
        name: 'orders-db/readonly',
        change: 'changed',
        details: ['ttl.max: 900s → 600s'],
        concerns: 'role analyst may have it, as before',
        live_sessions: 0,
        live_leases: 2,
      },
      {
        kind: 'policies',
        change: 'removed',
        details: [],
        concerns: 'every agent',
        live_sessions: 0,
        live_leases: 0,
      },
    ],
    changes_total: 3,
    ending_leases: 1,
    ending_sessions: 2,
    locks_out: 'it would not admit you',
  };

  it('says what changes for whom, and what stands in the way', async () => {
    line.write('mayfly.yaml', documents[0] ?? '');
    gateway.handlers.set(putConfig.name, () => preview);
    const { status, stdout, stderr } = await line.run('apply', '-f', 'mayfly.yaml', '--dry-run');
    expect(status).toBe(0);
    expect(stdout.split('\n')).toEqual([
      '~ credential orders-db/readonly of acme',
      '    ttl.max: 900s → 600s',
      '    for role analyst may have it, as before (2 live leases)',
      '- policies',
      '    for every agent',
      'and 1 more change',
      '! it removes what has 1 live lease: refused without --end-leases, with which they end',
      '! 2 live sessions end with it, and their leases: it no longer admits them',
      '! it locks you out, so it is refused without --lock-me-out: it would not admit you',
      '',
    ]);
    expect(stderr).toBe('mayfly: nothing was applied; version 3 is running\n');
    expect(gateway.called(putConfig)[0]?.input).toMatchObject({ dry_run: true });
    const json = await line.run('apply', '-f', 'mayfly.yaml', '--dry-run', '--json');
    expect(JSON.parse(json.stdout)).toEqual(preview);
  });

  it('says that nothing changes', async () => {
    line.write('mayfly.yaml', documents[0] ?? '');
    const nothing = {
      ...preview,
      changes: [],
      changes_total: 0,
      ending_leases: 0,
      ending_sessions: 0,
      locks_out: undefined,
    };
    gateway.handlers.set(putConfig.name, () => nothing);
    expect((await line.run('apply', '-f', 'mayfly.yaml', '--dry-run')).stdout).toBe(
      'nothing changes for anybody: only its text differs from version 3\n',
    );
  });
});
