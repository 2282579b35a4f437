import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http, type ErrorCode } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway, Refusal } from '../fixtures/gateway.ts';
import { endInSteps, revocationId, revocationView } from '../fixtures/revocation.ts';
import { until } from '../fixtures/until.ts';

const { revoke, getRevocation } = http.administration;
const ask = ['revoke', '--user', 'ada@example.com', '--reason', 'drill', '--wait'];
const follow = ['revocations', revocationId, '--wait'];
const howToFollow = `\`mayfly revocations ${revocationId} --wait\``;

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({
    MAYFLY_URL: gateway.url,
    MAYFLY_IDENTITY_TOKEN: identityToken(),
    NO_COLOR: '1',
  });
  endInSteps(gateway, line, { matched: 8, perLook: 1 });
});
afterEach(() => gateway.stop());

/** Does something after the n-th pause of the command, beside what happens there anyway. */
function atPause(number: number, act: () => void | Promise<void>): void {
  const usual = line.onPause;
  let pauses = 0;
  line.onPause = async () => {
    await usual();
    if (++pauses === number) await act();
  };
}

/** The first looks are refused; the others are answered as ever. */
function refuseFirst(times: number, code: ErrorCode): void {
  const usual = gateway.handlers.get(getRevocation.name);
  let refused = 0;
  gateway.handlers.set(getRevocation.name, (input) => {
    if (refused++ < times) throw new Refusal(code, 'no');
    return usual?.(input);
  });
}

describe('waiting for a revocation', () => {
  it('goes on when the gateway restarts, and says so once', async () => {
    atPause(2, () => gateway.stop());
    atPause(5, () => gateway.startAgain());
    const { status, stdout, stderr } = await line.run(...ask);
    expect(status).toBe(0);
    expect(stdout.trimEnd().split('\n')).toHaveLength(8);
    expect(stderr.split("can't be reached")).toHaveLength(2);
    expect(stderr).toContain('The revocation goes on, and this waits until the gateway answers again.\n');
    expect(stderr).toContain('8 of 8 leases ended');
  });

  it.each(['dependency_unavailable', 'rate_limited', 'limit_exceeded', 'conflict'] as const)(
    'goes on through %s',
    async (code) => {
      refuseFirst(5, code);
      expect((await line.run(...ask)).status).toBe(0);
      expect(gateway.called(revoke)).toHaveLength(1);
    },
  );

  it.each([
    ['dependency_unavailable', 18],
    ['rate_limited', 21],
  ] as const)(
    'for longer than %s lasts ends with %d, and says that the revocation goes on',
    async (code, exit) => {
      gateway.refuse(getRevocation, code, 'away');
      const began = line.now.getTime();
      const { status, stderr } = await line.run(...ask, '--timeout', '5s');
      expect(status).toBe(exit);
      expect(stderr).toContain(`  The revocation goes on by itself; ${howToFollow} follows it.`);
      expect(stderr).not.toContain('nothing was issued');
      expect(line.now.getTime() - began).toBe(5_000);
    },
  );

  it('ends with 69 when the gateway stays away', async () => {
    atPause(2, () => gateway.stop());
    const { status, stderr } = await line.run(...ask, '--timeout', '5s');
    expect(status).toBe(69);
    expect(stderr).toContain(`The revocation goes on by itself; ${howToFollow} follows it.`);
  });

  it('ends in time also when the gateway hangs', async () => {
    gateway.handlers.set(getRevocation.name, () => {
      line.now = new Date(line.now.getTime() + 1_000);
      return new Promise(() => undefined);
    });
    const { status, stderr } = await line.run(...ask, '--timeout', '1s');
    expect(status).toBe(69);
    expect(stderr).toContain('does not answer in time');
  });

  it('does not go on after what will not pass', async () => {
    gateway.refuse(getRevocation, 'policy_denied', 'only an administrator may see revocations');
    const { status, stderr } = await line.run(...follow);
    expect(status).toBe(11);
    expect(stderr).toContain('It takes an administrator');
    expect(gateway.called(getRevocation)).toHaveLength(1);
  });

  it('waits for one that is ordered but not known yet', async () => {
    refuseFirst(40, 'not_found');
    const { status, stderr } = await line.run(...follow);
    expect(status).toBe(0);
    expect(stderr.split('is not known yet')).toHaveLength(2);
  });

  it('takes 30 s to believe that there is no such revocation', async () => {
    gateway.refuse(getRevocation, 'not_found', 'No such revocation.');
    const began = line.now.getTime();
    const { status, stderr } = await line.run(...follow);
    expect(status).toBe(19);
    expect(line.now.getTime() - began).toBe(30_000);
    expect(stderr).toContain('`mayfly revocations` lists those that there are');
  });

  it('goes on in another session when its own has ended', async () => {
    refuseFirst(1, 'unauthenticated');
    const { status, stdout } = await line.run(...ask, '--json');
    expect(status).toBe(0);
    expect(stdout.trimEnd().split('\n').at(-1)).toContain('"outcome":"ended"');
    expect(gateway.called(http.oauth.token)).toHaveLength(2);
  });

  it('ends with 10 when its identity opens no other session', async () => {
    gateway.handlers.set(getRevocation.name, () => {
      gateway.refuse(http.oauth.token, 'unauthenticated', 'the token has expired');
      throw new Refusal('unauthenticated', 'The session has ended.');
    });
    const { status, stderr } = await line.run(...ask);
    expect(status).toBe(10);
    expect(stderr).toContain(`with a fresh identity token ${howToFollow} follows it`);
  });

  it('tells the id before anything can go wrong, beside the result', async () => {
    gateway.refuse(getRevocation, 'internal', 'no');
    expect(await line.run(...ask)).toMatchObject({
      stdout: '',
      stderr: expect.stringMatching(
        `^mayfly: Accepted as ${revocationId}; stopping this wait does not stop it`,
      ),
    });
  });

  it('draws an empty bar while it is not known how many leases there are', async () => {
    line.isTerminal = true;
    let looks = 0;
    gateway.handlers.set(getRevocation.name, () => ({
      revocation: revocationView({ status: looks++ === 0 ? 'gathering' : 'done' }),
      leases: [],
    }));
    const { stderr } = await line.run(...follow);
    const [bar] = /\[.{28}\] .*?found so far/.exec(stderr) ?? [];
    expect(bar).toBe(`[${'░'.repeat(28)}] 0 ended of 0 found so far`);
  });
});

describe('a wait that is stopped', () => {
  it('by Ctrl-C leaves no bar behind, says how to go on, and exits with 130', async () => {
    line.isTerminal = true;
    atPause(2, () => line.signal('SIGINT'));
    const { status, stderr } = await line.run(...ask);
    expect(status).toBe(130);
    expect(stderr.split('\r\u001b[2K').at(-1)).toBe(
      `mayfly: The revocation goes on; ${howToFollow} follows it.\n`,
    );
    expect(line.listens).toBe(false);
  });

  it('while the gateway does not answer ends at once', async () => {
    gateway.handlers.set(getRevocation.name, () => new Promise(() => undefined));
    const waiting = line.run(...ask, '--json');
    await until(() => gateway.called(getRevocation).length === 1);
    line.signal('SIGTERM');
    expect(await waiting).toEqual({
      status: 143,
      stdout: '',
      stderr: `mayfly: The revocation goes on; ${howToFollow} follows it.\n`,
    });
  });
});
