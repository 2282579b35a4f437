/** A `.mayfly` folder that lies where the command is run, and was put there by somebody else. */
import { chmodSync, chownSync, mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { FakeGateway } from '../fixtures/gateway.ts';

let gateway: FakeGateway;
let line: CommandLine;
const at = (path: string) => join(line.cwd, path);
beforeEach(async () => {
  gateway = await FakeGateway.start();
  gateway.handlers.set(http.leases.listCredentials.name, () => ({ credentials: [] }));
  line = new CommandLine();
  line.write('.mayfly/stack.json', JSON.stringify({ gateway_url: gateway.url }));
  line.write('.mayfly/identities/agent.jwt', identityToken());
});
afterEach(() => gateway.stop());

describe('a stack that was found', () => {
  it("is asked with its own identity, if it is this user's alone", async () => {
    expect(await line.run('credentials')).toMatchObject({ status: 0 });
    expect(gateway.calls).toHaveLength(2);
  });

  it.each<[string, () => void, RegExp]>([
    [
      'its folder can be written by all',
      () => chmodSync(at('.mayfly'), 0o777),
      /\.mayfly can be written by others\./,
    ],
    [
      'its folder can be written by a group',
      () => chmodSync(at('.mayfly'), 0o775),
      /\.mayfly can be written by others\./,
    ],
    [
      'a folder above can be written by all',
      () => chmodSync(line.cwd, 0o777),
      /can be written by everybody\./,
    ],
    [
      'its file can be written by others',
      () => chmodSync(at('.mayfly/stack.json'), 0o622),
      /stack\.json can be written by others\./,
    ],
    [
      'its file is such as git makes',
      () => chmodSync(at('.mayfly/stack.json'), 0o644),
      /stack\.json can be read by others\./,
    ],
    [
      'an identity is such as git makes',
      () => chmodSync(at('.mayfly/identities/agent.jwt'), 0o644),
      /agent\.jwt can be read by others\./,
    ],
    [
      'its folder is a link',
      () => {
        renameSync(at('.mayfly'), at('real'));
        symlinkSync('real', at('.mayfly'));
      },
      /\.mayfly is a symbolic link\./,
    ],
    [
      'its file is a link',
      () => {
        renameSync(at('.mayfly/stack.json'), at('real'));
        symlinkSync('../real', at('.mayfly/stack.json'));
      },
      /stack\.json is a symbolic link\./,
    ],
    [
      "an identity is a link to another token of this user's",
      () => {
        renameSync(at('.mayfly/identities/agent.jwt'), at('sso'));
        symlinkSync(at('sso'), at('.mayfly/identities/agent.jwt'));
      },
      /agent\.jwt is a symbolic link\./,
    ],
    [
      'the folder of identities is a link',
      () => {
        renameSync(at('.mayfly/identities'), at('tokens'));
        symlinkSync('../tokens', at('.mayfly/identities'));
      },
      /identities is a symbolic link\./,
    ],
    [
      'its file is a folder',
      () => {
        renameSync(at('.mayfly/stack.json'), at('was'));
        mkdirSync(at('.mayfly/stack.json'), { mode: 0o700 });
      },
      /stack\.json is no file\./,
    ],
  ])('is not believed when %s', async (_, make, why) => {
    make();
    const { status, stderr } = await line.run('credentials');
    expect(status).toBe(2);
    expect(stderr).toMatch(why);
    expect(gateway.calls).toEqual([]);
  });

  // Only root can give files away; elsewhere `way.spec.ts` has the same with given owners.
  const asRoot = process.getuid?.() === 0 ? it : it.skip;
  asRoot.each(['.mayfly', '.mayfly/stack.json', '.mayfly/identities', '.mayfly/identities/agent.jwt', '.'])(
    'is not believed when %s belongs to somebody else',
    async (path) => {
      chownSync(at(path), 65_534, 65_534);
      const { status, stderr } = await line.run('credentials');
      expect(status).toBe(2);
      expect(stderr).toContain(' belongs to another user.');
      expect(gateway.calls).toEqual([]);
    },
  );

  it('is believed when MAYFLY_DATA_DIR names it by a link, if what that leads to is right', async () => {
    symlinkSync('.mayfly', at('link'));
    line.env['MAYFLY_DATA_DIR'] = at('link');
    expect(await line.run('credentials')).toMatchObject({ status: 0 });
    chmodSync(at('.mayfly'), 0o777);
    expect(await line.run('credentials')).toMatchObject({ status: 2 });
  });
});

describe('an identity that was given', () => {
  const given: [string, () => string[]][] = [
    ['MAYFLY_IDENTITY_TOKEN', () => ((line.env['MAYFLY_IDENTITY_TOKEN'] = identityToken()), [])],
    [
      'MAYFLY_IDENTITY_TOKEN_FILE',
      () => ((line.env['MAYFLY_IDENTITY_TOKEN_FILE'] = line.write('sso', identityToken())), []),
    ],
    ['--identity-token-file', () => ['--identity-token-file', line.write('sso', identityToken())]],
  ];

  it.each(given)('by %s is never sent to a gateway that was found', async (_, give) => {
    const { status, stderr } = await line.run('credentials', ...give());
    expect(status).toBe(2);
    expect(stderr).toContain('no gateway is named to send it to.');
    expect(gateway.calls).toEqual([]);
  });

  it.each(given)(
    'by %s is not sent to the default port either, where anybody may listen',
    async (_, give) => {
      const empty = new CommandLine();
      const options = give();
      const env = Object.entries(line.env).filter(([name]) => name.startsWith('MAYFLY_'));
      Object.assign(empty.env, Object.fromEntries(env));
      expect(await empty.run('credentials', ...options)).toMatchObject({ status: 2 });
    },
  );

  it.each(given)('by %s is sent to one that is named', async (_, give) => {
    const options = give();
    expect(await line.run('credentials', ...options, '--url', gateway.url)).toMatchObject({ status: 0 });
    line.env['MAYFLY_URL'] = gateway.url;
    expect(await line.run('credentials', ...options)).toMatchObject({ status: 0 });
    delete line.env['MAYFLY_URL'];
    line.env['MAYFLY_DATA_DIR'] = at('.mayfly');
    expect(await line.run('credentials', ...options)).toMatchObject({ status: 0 });
  });
});

describe('the audit log of a stack that was found', () => {
  const stack = (auditorUrl: string) =>
    line.write(
      '.mayfly/stack.json',
      JSON.stringify({
        gateway_url: gateway.url,
        postgres: { auditor_url: auditorUrl },
        checkpoint_keys_file: line.write('keys.json', '{"keys":[]}'),
      }),
    );

  it.each([
    'postgres://127.0.0.1:1/x',
    'postgres://ada@127.0.0.1:1/x',
    'postgres://ada:p@127.0.0.1:1/x?password=',
    'postgres://ada:p@127.0.0.1:1/x?host=db.example',
    'socket:/tmp/x',
  ])("is not opened with passwords of this user's: %s", async (url) => {
    stack(url);
    const { status, stderr } = await line.run('audit', 'verify');
    expect(status).toBe(2);
    expect(stderr).toContain('names no whole URL of its database');
  });

  it('lends its keys to no log that was named', async () => {
    stack('postgres://mayfly_auditor:p@127.0.0.1:1/x');
    expect((await line.run('audit', 'verify')).stderr).not.toContain('nothing to verify');
    const named = ['--database-url', 'postgres://mayfly_auditor:p@127.0.0.1:1/x'];
    expect((await line.run('audit', 'verify', ...named)).stderr).toContain('Name them with --keys');
  });
});
