/** The real program, as a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { http } from '@mayfly/contracts';
import { CommandLine, identityToken } from './fixtures/command-line.ts';
import { FakeGateway } from './fixtures/gateway.ts';
import { until } from './fixtures/until.ts';

const { createLease, renewLease, deleteLease } = http.leases;
/** From the sources, so that no build needs to be there. */
const program = [
  '--experimental-transform-types',
  '--disable-warning=ExperimentalWarning',
  '--conditions=@mayfly/source',
  join(import.meta.dirname, 'main.ts'),
];

let gateway: FakeGateway;
beforeEach(async () => {
  gateway = await FakeGateway.start();
});
afterEach(() => gateway.stop());

describe('mayfly exec whose stderr nobody reads', () => {
  it('leaves its command alone, and gives the leases back after it', async () => {
    const renewal = { kind: 'in_place', max_life_seconds: 3600, max_count: 10, grace_seconds: 30 } as const;
    gateway.issuing.renewal = renewal;
    gateway.handlers.set(createLease.name, ({ credential }) => {
      gateway.issuing.ttlSeconds = credential === 'orders-db/readonly' ? 1 : 2;
      return gateway.issue(String(credential));
    });
    // Each makes for a note, while the command runs and after it.
    gateway.refuse(renewLease, 'policy_denied', 'no');
    gateway.refuse(deleteLease, 'dependency_unavailable', 'no');
    const line = new CommandLine();
    // By itself it ends only where this test has failed.
    const script = `setInterval(() => require('node:fs').existsSync('go') && process.exit(3), 10);
      setTimeout(() => process.exit(1), 60_000);`;
    const mayfly = spawn(
      process.execPath,
      [...program, 'exec', 'orders-db/readonly', 'orders-db/writer', '--', process.execPath, '-e', script],
      {
        cwd: line.cwd,
        env: { PATH: process.env['PATH'], MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    mayfly.stderr.destroy();
    const ended = once(mayfly, 'exit');
    // By the second renewal the note about the first is long written.
    await until(() => gateway.called(renewLease).length === 2, 25_000);
    line.write('go', '');
    expect(await ended).toEqual([3, null]);
    expect(gateway.called(deleteLease)).toHaveLength(2);
    expect(gateway.called(http.oauth.revokeToken)).toHaveLength(1);
  });
});

describe('mayfly exec --file that is killed', () => {
  it('leaves its file to the next run, which removes it, says so, and leaves that of a live run alone', async () => {
    gateway.handlers.set(http.leases.listCredentials.name, () => ({ credentials: [] }));
    const line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
    line.env['XDG_RUNTIME_DIR'] = line.cwd;
    const folder = join(line.cwd, 'mayfly');
    /** Ends by itself only where this test has failed. */
    const script = `require('node:fs').writeFileSync(process.argv[1], process.env.PGPASSFILE);
      setInterval(() => require('node:fs').existsSync('go') && process.exit(0), 10); setTimeout(() => process.exit(1), 60_000);`;
    const child = (name: string) => ['--', process.execPath, '-e', script, name];
    const killed = spawn(
      process.execPath,
      [...program, 'exec', '--file', 'orders-db/readonly', ...child('killed')],
      {
        cwd: line.cwd,
        env: line.env,
        stdio: 'ignore',
      },
    );
    const pathOf = (name: string) => {
      const path = join(line.cwd, name);
      return existsSync(path) ? readFileSync(path, 'utf8') : '';
    };
    await until(() => pathOf('killed') !== '', 25_000);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    expect(existsSync(pathOf('killed'))).toBe(true);

    const next = line.run('exec', '--file', 'orders-db/readonly', ...child('live'));
    await until(() => pathOf('live') !== '', 25_000);
    expect(existsSync(pathOf('killed'))).toBe(false);
    // A third run finds the second one alive.
    expect(await line.run('credentials')).toMatchObject({
      status: 0,
      stderr: 'mayfly: There is nothing that this identity may ask for.\n',
    });
    expect(existsSync(pathOf('live'))).toBe(true);
    line.write('go', '');
    const { status, stderr } = await next;
    expect(status).toBe(0);
    expect(stderr).toBe(
      `mayfly: Removed PGPASSFILE, which a run that was killed had left in ${dirname(pathOf('killed'))}.\n`,
    );
    expect(readdirSync(folder)).toEqual([]);
  });
});
