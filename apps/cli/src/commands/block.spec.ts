import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway } from '../fixtures/gateway.ts';

const { addBlock, getRevocation, listBlocks, removeBlock } = http.administration;
const block_id = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  line.now = new Date('2026-11-20T19:00:00Z');
});
afterEach(() => gateway.stop());

const block = (changes: object = {}) => ({
  block_id,
  subject: { kind: 'user', id: 'ada@example.com' },
  reason: 'lost laptop',
  added_by: 'spiffe://acme.example/person/grace',
  added_at: '2026-11-20T19:00:00.000Z',
  ...changes,
});
const revocation = {
  revocation_id: block_id,
  subject: { kind: 'user', id: 'ada@example.com' },
  reason: 'lost laptop',
  asked_by: 'spiffe://acme.example/person/grace',
  asked_at: '2026-11-20T19:00:00.000Z',
  status: 'done',
  matched: 2,
  by_revocability: { immediate: 2, eventual: 0, expiry_only: 0 },
  revoked: 2,
  pending: 0,
  failing: 0,
};

describe('mayfly block', () => {
  it.each([
    ['agent', 'spiffe://acme.example/agent/a/b/c'],
    ['user', 'ada@example.com'],
    ['session', block_id],
    ['credential', 'orders-db/readonly'],
    ['integration', 'orders-db'],
  ])('blocks by --%s', async (kind, id) => {
    gateway.handlers.set(addBlock.name, () => ({ block: block({ subject: { kind, id } }) }));
    expect(await line.run('block', `--${kind}`, id, '--reason', 'x')).toEqual({
      status: 0,
      stdout: `${kind} ${id} is blocked until it is unblocked\n`,
      stderr: '',
    });
    expect(gateway.called(addBlock)[0]?.input).toEqual({ subject: { kind, id }, reason: 'x', revoke: false });
  });

  it.each([
    ['2h', 7_200],
    ['2026-11-20T19:00:30Z', 30],
  ])('until %s', async (until, seconds) => {
    gateway.handlers.set(addBlock.name, () => ({ block: block({ until: '2026-11-20T21:00:00.000Z' }) }));
    const { stdout } = await line.run('block', '--user', 'x', '--reason', 'x', '--until', until);
    expect(stdout).toContain('until 2026-11-20 21:00:00Z (in 2h)');
    expect(gateway.called(addBlock)[0]?.input).toMatchObject({ for_seconds: seconds });
  });

  it('with --revoke --wait ends what there is, in the same call', async () => {
    gateway.handlers.set(addBlock.name, () => ({ block: block(), revocation }));
    gateway.handlers.set(getRevocation.name, () => ({ revocation, leases: [] }));
    const args = ['block', '--user', 'ada@example.com', '--reason', 'x', '--revoke', '--wait'];
    const { status, stdout, stderr } = await line.run(...args);
    expect(status).toBe(0);
    expect(stdout).toContain('user ada@example.com is blocked');
    expect(stderr).toContain('2 of 2 leases ended');
    expect(gateway.called(addBlock)[0]?.input).toMatchObject({ revoke: true });
    const lines = (await line.run(...args, '--json')).stdout.trimEnd().split('\n');
    expect(lines.map((text) => (JSON.parse(text) as { type: string }).type)).toEqual([
      'block',
      'progress',
      'result',
    ]);
  });

  it.each([
    [[]],
    [['--reason', 'x']],
    [['--user', 'x']],
    [['--user', 'x', '--agent', 'y', '--reason', 'x']],
    [['--user', 'x', '--reason', 'x', '--wait']],
    [['--user', 'x', '--reason', 'x', '--until', '2020-01-01T00:00:00Z']],
    [['--organization', 'x', '--reason', 'x']],
  ])('refuses %j without asking anyone', async (args) => {
    expect((await line.run('block', ...args)).status).toBe(2);
    expect(gateway.calls).toEqual([]);
  });
});

describe('mayfly unblock', () => {
  beforeEach(() => {
    gateway.handlers.set(removeBlock.name, () => ({ block: block() }));
    gateway.handlers.set(listBlocks.name, () => ({ blocks: [block()] }));
  });

  it.each([[[block_id]], [['--user', 'ada@example.com']]])('by %j', async (args) => {
    const { status, stdout } = await line.run('unblock', ...args);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'user ada@example.com is no longer blocked\n' });
    expect(gateway.called(removeBlock)[0]?.input).toEqual({ block_id });
  });

  it('says so when it is not blocked', async () => {
    expect((await line.run('unblock', '--user', 'grace@example.com')).status).toBe(19);
    expect((await line.run('unblock')).status).toBe(2);
    expect(gateway.called(removeBlock)).toEqual([]);
  });
});

it('mayfly blocks lists them, page by page', async () => {
  gateway.handlers.set(listBlocks.name, ({ after }) =>
    after === undefined ? { blocks: [block()], next: block_id } : { blocks: [block({ reason: 'another' })] },
  );
  const { stdout } = await line.run('blocks');
  expect(stdout).toContain('user ada@example.com  2026-11-20 19:00:00Z  until it is unblocked');
  expect(stdout).toContain('another');
});
