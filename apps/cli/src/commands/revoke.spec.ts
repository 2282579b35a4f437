import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http, type RevocationView, type RevokedLease } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway } from '../fixtures/gateway.ts';
import {
  endInSteps,
  revocationId,
  revocationView as view,
  revokedLease as lease,
} from '../fixtures/revocation.ts';

const { deleteLease } = http.leases;
const { revoke, getRevocation, listRevocations } = http.administration;

const leaseId = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';
const asked = ['--user', 'ada@example.com', '--reason', 'drill'];

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
});
afterEach(() => gateway.stop());

const ending = (matched: number, perLook: number, last: Partial<RevocationView> = {}) =>
  endInSteps(gateway, line, { matched, perLook, last });

describe('mayfly revoke', () => {
  it('gives a lease of its own back', async () => {
    const { status, stdout } = await line.run('revoke', leaseId);
    expect(status).toBe(0);
    expect(stdout).toContain(`${leaseId}  revoked`);
    expect(gateway.called(deleteLease)[0]?.input).toEqual({ lease_id: leaseId });
  });

  it.each<[string[], object]>([
    ...Object.entries({
      lease: leaseId,
      session: leaseId,
      agent: 'spiffe://acme.example/agent/a/b/c',
      user: 'x',
      credential: 'x/y',
      integration: 'x',
      organization: 'x',
    }).map(([kind, id]): [string[], object] => [[`--${kind}`, id], { kind, id }]),
    [['--organization'], { kind: 'organization' }],
    [['--everything'], { kind: 'everything' }],
  ])('ends all leases of a subject by %j', async (args, subject) => {
    gateway.handlers.set(revoke.name, () => view({ matched: 1, revoked: 1, leases: [lease(1)] } as object));
    const { status, stdout, stderr } = await line.run('revoke', ...args, '--reason', 'drill');
    expect({ status, stderr }).toEqual({ status: 0, stderr: 'mayfly: 1 lease ended\n' });
    expect(stdout).toContain(`${lease(1).lease_id}  revoked`);
    expect(gateway.called(revoke)[0]?.input).toEqual({ subject, reason: 'drill' });
  });

  it('of many says how far it is and how to follow it', async () => {
    gateway.handlers.set(revoke.name, () =>
      view({ status: 'ending', matched: 10_000, revoked: 12, pending: 9_988 }),
    );
    expect(await line.run('revoke', ...asked)).toEqual({
      status: 0,
      stdout: '',
      stderr: `mayfly: 10000 leases, 12 ended; \`mayfly revocations ${revocationId} --wait\` follows it\n`,
    });
  });

  it.each([
    [[]],
    [[leaseId, '--session', 'x', '--reason', 'y']],
    [[leaseId, '--wait']],
    [['--session', 'x']],
    [['--agent', 'x', '--user', 'y', '--reason', 'z']],
    [['--everything', '--organization', '--reason', 'z']],
    [[...asked, '--wait', '--timeout', 'soon']],
  ])('refuses %j without asking anyone', async (args) => {
    expect((await line.run('revoke', ...args)).status).toBe(2);
    expect(gateway.calls).toEqual([]);
  });

  it('uses the agent for its own lease and the administrator for a subject', async () => {
    delete line.env['MAYFLY_IDENTITY_TOKEN'];
    const at = Math.floor(Date.now() / 1000);
    line.write('.mayfly/identities/agent.jwt', identityToken(at + 601));
    line.write('.mayfly/identities/administrator.jwt', identityToken(at + 602));
    gateway.handlers.set(revoke.name, () => view());
    await line.run('revoke', leaseId);
    await line.run('revoke', '--lease', leaseId, '--reason', 'x');
    const used = gateway.called(http.oauth.token).map(({ input }) => input['subject_token']);
    expect(used).toEqual([identityToken(at + 601), identityToken(at + 602)]);
  });
});

describe('mayfly revoke on a terminal', () => {
  beforeEach(() => {
    line.isTerminal = true;
    gateway.handlers.set(revoke.name, () => view());
  });

  it.each(['--integration=x', '--organization', '--everything'])('asks before %s', async (option) => {
    line.typed = 'y';
    const refused = await line.run('revoke', option, '--reason', 'x');
    expect(refused).toMatchObject({ status: 2, stderr: expect.stringContaining('Nothing was revoked') });
    expect(gateway.calls).toEqual([]);
    expect(line.asked).toHaveLength(1);
    line.typed = 'yes';
    expect((await line.run('revoke', option, '--reason', 'x')).status).toBe(0);
    expect((await line.run('revoke', option, '--reason', 'x', '--yes')).status).toBe(0);
    expect(line.asked).toHaveLength(2);
  });

  it('does not ask before what is narrow', async () => {
    await line.run('revoke', ...asked);
    expect(line.asked).toEqual([]);
  });

  it('with --wait draws a bar, names each lease as it ends, and leaves no bar behind', async () => {
    ending(4, 1);
    const { status, stdout, stderr } = await line.run('revoke', ...asked, '--wait');
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines).toEqual([0, 1, 2, 3].map((n) => `${lease(n).lease_id}  orders-db/readonly  revoked`));
    const drawn = stderr.split('\r\u001b[2K');
    expect(drawn).toContain(`[${'█'.repeat(14)}${'░'.repeat(14)}] 2 of 4 ended`);
    expect(drawn.at(-1)).toContain('mayfly: 4 of 4 leases ended');
  });
});

describe('mayfly revoke --wait', () => {
  it('prints a line every few seconds where there is no terminal', async () => {
    ending(10_000, 250);
    const { status, stdout, stderr } = await line.run('revoke', ...asked, '--wait');
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    // 40 looks, half a second apart.
    expect(stderr.trimEnd().split('\n')).toEqual([
      `mayfly: Accepted as ${revocationId}; stopping this wait does not stop it.`,
      'mayfly: 2500 of 10000 ended',
      'mayfly: 5000 of 10000 ended',
      'mayfly: 7500 of 10000 ended',
      'mayfly: 10000 of 10000 leases ended',
    ]);
  });

  it('prints JSON lines with --json: progress, each lease once, the result', async () => {
    ending(2_500, 1_200);
    const { status, stdout } = await line.run('revoke', ...asked, '--wait', '--json');
    expect(status).toBe(0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((text) => JSON.parse(text) as { type: string; lease?: RevokedLease; outcome?: string });
    const leases = lines.filter(({ type }) => type === 'lease').map((told) => told.lease?.lease_id);
    expect(leases).toHaveLength(2_500);
    expect(new Set(leases).size).toBe(2_500);
    expect(lines.filter(({ type }) => type === 'progress')).toHaveLength(4);
    expect(lines.at(-1)).toMatchObject({ type: 'result', outcome: 'ended', revocation: { matched: 2_500 } });
  });

  it('exits with 30 when some work on, and says until when', async () => {
    ending(2, 2, { by_revocability: { immediate: 1, eventual: 0, expiry_only: 1 } });
    line.now = new Date('2026-11-20T19:00:00Z');
    const usual = gateway.handlers.get(getRevocation.name);
    gateway.handlers.set(getRevocation.name, (input) => {
      const page = usual?.(input) as { leases: RevokedLease[] };
      const told = page.leases.map((one, index) =>
        index === 1 ? { ...one, outcome: 'expiry_only', by: '2026-11-20T19:05:00.500Z' } : one,
      );
      return { ...page, leases: told };
    });
    const { status, stdout, stderr } = await line.run('revoke', ...asked, '--wait');
    expect(status).toBe(30);
    expect(stdout).toContain("can't be called back, dead in 5m");
    expect(stderr).toContain(
      "1 that can't be called back; the last is dead in 5m (2026-11-20T19:05:00.500Z)",
    );
  });

  it('exits with 31 when time is up, and with 32 when an upstream would not', async () => {
    ending(10, 0);
    const late = await line.run('revoke', ...asked, '--wait', '--timeout', '3s');
    expect(late.status).toBe(31);
    expect(late.stderr).toContain(`0 of 10 leases ended, 10 not yet`);
    expect(late.stderr).toContain(`mayfly revocations ${revocationId} --wait`);
    const stuck = view({ status: 'ending', matched: 2, revoked: 1, failing: 1 });
    gateway.handlers.set(getRevocation.name, () => ({ revocation: stuck, leases: [] }));
    const failing = await line.run('revoke', ...asked, '--wait', '--timeout', '3s');
    expect(failing.status).toBe(32);
    expect(failing.stderr).toContain("1 can't be ended so far");
  });

  it('exits with 0 when nothing matches', async () => {
    ending(0, 0);
    const { status, stderr } = await line.run('revoke', ...asked, '--wait');
    expect(status).toBe(0);
    expect(stderr).toContain('no live lease matches');
  });
});

describe('mayfly revocations', () => {
  it('lists them, with how many leases of each are dead, to come and failing', async () => {
    const open = { status: 'ending', matched: 6, revoked: 3, pending: 2, failing: 1 } as const;
    gateway.handlers.set(listRevocations.name, () => ({ revocations: [view(open)] }));
    const [header, row] = (await line.run('revocations')).stdout.split('\n');
    expect(header).toMatch(/STATUS +ENDED +PENDING +FAILING/);
    expect(row).toMatch(
      /^0199a3c4-\S+ +2026-11-20 19:00:00Z +user ada@example\.com +ending +3\/6 +2 +1 +spiffe/,
    );
  });

  it('says when there are more than it lists', async () => {
    gateway.handlers.set(listRevocations.name, () => ({ revocations: [view()], next: revocationId }));
    expect((await line.run('revocations')).stderr).toContain('Only the newest 1 are listed');
    expect(JSON.parse((await line.run('revocations', '--json')).stdout)).toMatchObject({
      next: revocationId,
    });
    const revocation = view({ status: 'ending', matched: 700, revoked: 300, pending: 399, failing: 1 });
    const leases = [lease(1, { outcome: 'ending', ended_at: undefined })];
    gateway.handlers.set(getRevocation.name, () => ({ revocation, leases, next: '1' }));
    expect((await line.run('revocations', revocationId)).stderr).toContain(
      'Only the first 1 of 400 leases that have not ended are listed',
    );
    expect((await line.run('revocations', revocationId, '--json')).stderr).toContain('1 of 700 leases are');
  });

  it('shows what of one has not ended, and can follow it', async () => {
    const open = lease(7, { outcome: 'failing', ended_at: undefined });
    gateway.handlers.set(getRevocation.name, () => ({
      revocation: view({ status: 'ending', matched: 1, failing: 1 }),
      leases: [open],
    }));
    const { stdout } = await line.run('revocations', revocationId);
    expect(stdout).toContain(`${open.lease_id}  can't be ended so far`);
    expect(gateway.called(getRevocation)[0]?.input).toMatchObject({ leases: 'open' });
    ending(3, 3);
    expect((await line.run('revocations', revocationId, '--wait')).stdout).toContain(lease(2).lease_id);
    expect((await line.run('revocations', '--wait')).status).toBe(2);
  });

  it.each<[Partial<RevocationView>, string]>([
    [{ status: 'gathering' }, 'Its leases are still being found'],
    [{}, 'No live lease matched.'],
    [{ matched: 2, revoked: 2 }, 'All of its leases have ended.'],
    [
      { matched: 2, revoked: 2, by_revocability: { immediate: 1, eventual: 0, expiry_only: 1 } },
      'All of its leases have ended; 1 may work for a while',
    ],
  ])('of %j without open leases says: %s', async (changes, text) => {
    gateway.handlers.set(getRevocation.name, () => ({ revocation: view(changes), leases: [] }));
    expect((await line.run('revocations', revocationId)).stderr).toContain(text);
  });
});
