import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway } from '../fixtures/gateway.ts';

const { closeSession, listSessions } = http.administration;
const session_id = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a21';
const next_id = '0199a3c4-7d1e-7b3a-9f10-2c5d8e6b4a20';

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  line.now = new Date('2026-11-20T19:00:00Z');
});
afterEach(() => gateway.stop());

const person = (changes: object = {}) => ({
  session_id,
  kind: 'person',
  agent_id: 'spiffe://acme.example/person/ada.at.example.com',
  person_roles: ['administrator'],
  user: 'ada@example.com',
  trust_rule: 'people',
  opened_at: '2026-11-20T18:50:00.000Z',
  expires_at: '2026-11-20T19:50:00.000Z',
  ...changes,
});

describe('mayfly sessions', () => {
  it('lists all pages of them, people’s too', async () => {
    gateway.handlers.set(listSessions.name, ({ after }) =>
      after === undefined
        ? { sessions: [person()], next: session_id }
        : { sessions: [person({ session_id: next_id, person_roles: [] })] },
    );
    const { status, stdout } = await line.run('sessions');
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`${session_id} +person .*ada@example.com +administrator +people`));
    expect(stdout).toMatch(next_id);
  });

  it('of a user in whatever case, and refuses what is no user before it asks', async () => {
    gateway.handlers.set(listSessions.name, () => ({ sessions: [] }));
    expect(await line.run('sessions', '--people', '--user', 'Ada@Example.com')).toMatchObject({ status: 0 });
    expect(gateway.called(listSessions)[0]?.input).toMatchObject({ kind: 'person', user: 'ada@example.com' });
    expect(await line.run('sessions', '--user', 'ada@example.com\u200b')).toMatchObject({ status: 2 });
    expect(gateway.called(listSessions)).toHaveLength(1);
  });
});

describe('mayfly sessions close', () => {
  it('ends a session and tells how many leases end with it', async () => {
    gateway.handlers.set(closeSession.name, () => ({ session_id, closed: true, matched: 2 }));
    expect(await line.run('sessions', 'close', session_id.toUpperCase(), '--reason', 'lost laptop')).toEqual({
      status: 0,
      stdout: `session ${session_id} has ended; 2 leases of it end\n`,
      stderr: '',
    });
    expect(gateway.called(closeSession)[0]?.input).toEqual({ session_id, reason: 'lost laptop' });
  });

  it('says so when it had ended before, and prints JSON', async () => {
    gateway.handlers.set(closeSession.name, () => ({ session_id, closed: false, matched: 0 }));
    expect((await line.run('sessions', 'close', session_id, '--reason', 'x')).stdout).toMatch(
      /had ended before/,
    );
    const { stdout } = await line.run('sessions', 'close', session_id, '--reason', 'x', '--json');
    expect(JSON.parse(stdout)).toEqual({ session_id, closed: false, matched: 0 });
  });

  it('needs a reason and an id, and tells what to do about one that is unknown', async () => {
    expect((await line.run('sessions', 'close', session_id)).status).toBe(2);
    expect((await line.run('sessions', 'close', 'nonsense', '--reason', 'x')).status).toBe(2);
    gateway.refuse(closeSession, 'not_found', 'No such session.');
    const unknown = await line.run('sessions', 'close', session_id, '--reason', 'x');
    expect(unknown).toMatchObject({
      status: 19,
      stderr: expect.stringMatching(/mayfly sessions/) as unknown,
    });
  });
});

describe('a subject on the command line', () => {
  it('is brought into its form, and refused where it has none, before anything is asked', async () => {
    const { addBlock } = http.administration;
    gateway.refuse(addBlock, 'policy_denied', 'no');
    await line.run('block', '--session', session_id.toUpperCase(), '--reason', 'x');
    await line.run('block', '--user', 'Ada@Example.COM', '--reason', 'x');
    expect(gateway.called(addBlock).map(({ input }) => (input as { subject: object }).subject)).toEqual([
      { kind: 'session', id: session_id },
      { kind: 'user', id: 'ada@example.com' },
    ]);
    for (const odd of [
      ['--agent', 'spiffe://acme.example/agent/a/b/c/'],
      ['--agent', 'agent-1'],
      ['--user', 'ada\u200b@example.com'],
      ['--credential', 'orders-db'],
      ['--integration', 'Orders-db'],
      ['--session', 'nonsense'],
    ]) {
      expect([odd, (await line.run('block', ...odd, '--reason', 'x')).status]).toEqual([odd, 2]);
      expect([odd, (await line.run('revoke', ...odd, '--yes', '--reason', 'x')).status]).toEqual([odd, 2]);
    }
    expect(gateway.called(addBlock)).toHaveLength(2);
  });
});
