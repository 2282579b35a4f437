import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { findGatewayUrl } from '../api/gateway-url.ts';
import { CommandLine, identityToken } from '../fixtures/command-line.ts';
import { findIdentity, type IdentityOptions } from './find-identity.ts';

let line: CommandLine;
beforeEach(() => {
  line = new CommandLine();
});

const find = async (options: IdentityOptions = {}, cwd = line.cwd) =>
  (await findIdentity({ env: line.env, cwd, now: () => line.now }, options, 'agent')).token.reveal();

/** Three tokens that can be told apart. */
function writeDevelopmentIdentities(
  folder = '.mayfly',
): Record<'agent' | 'administrator' | 'auditor', string> {
  const at = Math.floor(Date.now() / 1000);
  const tokens = {
    agent: identityToken(at + 601),
    administrator: identityToken(at + 602),
    auditor: identityToken(at + 603),
  };
  for (const [name, token] of Object.entries(tokens))
    line.write(`${folder}/identities/${name}.jwt`, `${token}\n`);
  return tokens;
}

describe('the identity', () => {
  it('is found in the order: file option, --as, token, token file, development folder', async () => {
    const { agent, auditor } = writeDevelopmentIdentities();
    expect(await find()).toBe(agent);
    const [ofFile, ofVariable, ofOption] = [identityToken(1), identityToken(2), identityToken(3)];
    line.env['MAYFLY_IDENTITY_TOKEN_FILE'] = line.write('from-variable.jwt', `${ofFile}\n`);
    expect(await find()).toBe(ofFile);
    line.env['MAYFLY_IDENTITY_TOKEN'] = ofVariable;
    expect(await find()).toBe(ofVariable);
    expect(await find({ as: 'auditor' })).toBe(auditor);
    line.write('from-option.jwt', ofOption);
    expect(await find({ identityTokenFile: 'from-option.jwt' })).toBe(ofOption);
    await expect(find({ identityTokenFile: 'from-option.jwt', as: 'agent' })).rejects.toMatchObject({
      exit: 2,
    });
  });

  it('of development is found upward from the current folder, or in MAYFLY_DATA_DIR', async () => {
    const { agent } = writeDevelopmentIdentities();
    const deep = join(line.cwd, 'a', 'b');
    mkdirSync(deep, { recursive: true });
    expect(await find({}, deep)).toBe(agent);
    const elsewhere = writeDevelopmentIdentities('elsewhere');
    line.env['MAYFLY_DATA_DIR'] = join(line.cwd, 'elsewhere');
    expect(await find()).toBe(elsewhere.agent);
  });

  it('of development that has expired says so and asks for npm start', async () => {
    line.write('.mayfly/identities/agent.jwt', identityToken(Math.floor(line.now.getTime() / 1000) - 1));
    await expect(find()).rejects.toMatchObject({
      exit: 10,
      sentence: 'The development identity has expired; is `npm start` running?',
    });
  });

  it('that is missing says where one may come from', async () => {
    line.env['MAYFLY_DATA_DIR'] = join(line.cwd, 'nothing');
    const failure = { exit: 10, next: expect.stringContaining('MAYFLY_IDENTITY_TOKEN') };
    await expect(find()).rejects.toMatchObject(failure);
    await expect(find({ identityTokenFile: 'nothing.jwt' })).rejects.toMatchObject({ exit: 10 });
  });

  it('that is no JWT is refused without being repeated', async () => {
    line.env['MAYFLY_IDENTITY_TOKEN'] = 'hunter2';
    await expect(find()).rejects.toMatchObject({
      exit: 10,
      sentence: 'What MAYFLY_IDENTITY_TOKEN holds is not a JWT.',
    });
  });
});

describe('the gateway', () => {
  const url = async (option?: string) => Promise.resolve().then(() => findGatewayUrl(line, option));

  it('is found in the order: option, variable, running stack, default', async () => {
    line.env['MAYFLY_DATA_DIR'] = line.cwd;
    expect(await url()).toMatchObject({ url: 'http://127.0.0.1:8470', isExposed: false, isNamed: false });
    line.write('stack.json', JSON.stringify({ gateway_url: 'http://127.0.0.1:9000' }));
    expect((await url()).url).toBe('http://127.0.0.1:9000');
    line.env['MAYFLY_URL'] = 'https://mayfly.example/';
    expect((await url()).url).toBe('https://mayfly.example');
    expect((await url('http://localhost:1/')).url).toBe('http://localhost:1');
  });

  it('of a stack file is believed only on this machine', async () => {
    line.env['MAYFLY_DATA_DIR'] = line.cwd;
    line.write('stack.json', JSON.stringify({ gateway_url: 'https://attacker.example' }));
    expect((await url()).url).toBe('http://127.0.0.1:8470');
    line.write('stack.json', 'not json');
    expect((await url()).url).toBe('http://127.0.0.1:8470');
  });

  it('over plain HTTP on a network is told apart', async () => {
    expect((await url('http://mayfly.example')).isExposed).toBe(true);
    expect((await url('http://[::1]:8470')).isExposed).toBe(false);
  });

  it.each(['ftp://x', 'mayfly.example', 'http://user:secret@x', 'http://x/?a=b'])(
    'refuses %s',
    async (text) => {
      await expect(url(text)).rejects.toMatchObject({ exit: 2 });
    },
  );
});
