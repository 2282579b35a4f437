/** What is said around a verification; what it finds is proven on a real log by test/security. */
import { generateKeyPairSync } from 'node:crypto';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { CommandLine } from '../fixtures/command-line.ts';

/** Nothing listens there. */
const database = ['--database-url', 'postgres://mayfly_auditor@127.0.0.1:1/mayfly'];

let line: CommandLine;
beforeEach(() => {
  line = new CommandLine();
  const { publicKey } = generateKeyPairSync('ed25519');
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA', use: 'sig' };
  line.write('keys.json', JSON.stringify({ keys: [jwk] }));
  line.write('checkpoints.jsonl', '');
});
const verify = (...args: string[]) => line.run('audit', 'verify', ...args, '--keys', `${line.cwd}/keys.json`);

describe('mayfly audit verify', () => {
  it.each([[[]], [['--json']]])(
    'without the checkpoints outside Postgres warns that they are not compared (%j)',
    async (more) => {
      const { status, stdout, stderr } = await verify(...database, ...more);
      expect({ status, stdout }).toEqual({ status: 18, stdout: '' });
      expect(stderr).toMatch(
        /^mayfly: Warning: the copy of the checkpoints .* is not compared\..*--checkpoints\.\n/,
      );
    },
  );

  it('with them does not', async () => {
    const { stderr } = await verify(...database, '--checkpoints', `${line.cwd}/checkpoints.jsonl`);
    expect(stderr).not.toContain('Warning');
  });

  it('is told where the log is by the environment, too', async () => {
    expect((await verify()).stderr).toContain('There is nothing to verify');
    line.env['MAYFLY_AUDIT_DATABASE_URL'] = database[1];
    expect((await verify()).stderr).toContain('Postgres did not let the auditor in.');
  });

  it('names the file of keys that is not there, and asks for keys that were not named', async () => {
    const missing = await line.run('audit', 'verify', ...database, '--keys', `${line.cwd}/typo.json`);
    expect(missing.stderr).toContain('typo.json can not be read');
    expect(missing.stderr).not.toContain('Something inside');
    expect((await line.run('audit', 'verify', ...database)).stderr).toContain('Name them with --keys');
  });

  it('shows in its help how it is called in production', async () => {
    const { stdout } = await line.run('audit', 'verify', '--help');
    expect(stdout).toMatch(/ mayfly audit verify --database-url \S+ \\\n +--checkpoints \S+ --keys \S+\n/);
    expect(stdout).toContain('MAYFLY_AUDIT_DATABASE_URL=');
  });
});
