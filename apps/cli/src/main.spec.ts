/** The real program, as a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
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
