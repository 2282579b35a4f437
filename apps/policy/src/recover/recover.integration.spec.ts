/** The break-glass: it needs the machine and the database, and nothing else of Mayfly. */
import { spawn } from 'node:child_process';
import { hostname, userInfo } from 'node:os';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { OrderData } from '@mayfly/contracts';
import { createLogger } from '@mayfly/telemetry';
import { ApplyConfig } from '../configuration/apply-config.ts';
import { ListConfigVersions } from '../configuration/list-config-versions.ts';
import { Recoveries } from '../configuration/recoveries.ts';
import { RunningConfiguration } from '../configuration/running-configuration.ts';
import { Decide } from '../decisions/decide.ts';
import { runPolicy, sourceIp, type RunningPolicy } from '../spec-support/running-policy.ts';
import { analyst, personIn, twoOrganizations } from '../spec-support/two-organizations.ts';

const program = fileURLToPath(new URL('../../bin/mayfly-policy.js', import.meta.url));

let policy: RunningPolicy;
let folder: string;
beforeEach(async () => {
  policy = await runPolicy(twoOrganizations);
  folder = await mkdtemp(join(tmpdir(), 'mayfly-recover-'));
});
afterEach(async () => {
  await policy.stop();
  await rm(folder, { recursive: true });
});

/** Runs the command with policy's database and nothing else: no bus, no keys, no gateway. */
async function recover(document: string, ...options: string[]) {
  const file = join(folder, 'mayfly.yaml');
  await writeFile(file, document);
  return run(['recover', '--config', file, ...options], policy.database.connectionString);
}

function run(
  args: string[],
  url: string,
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [program, ...args], { env: { MAYFLY_POSTGRES_URL: url } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (data) => (stdout += String(data)));
  child.stderr.on('data', (data) => (stderr += String(data)));
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, stdout, stderr })));
}

const rows = async (statement: string) =>
  (await policy.database.pool.query<{ row: string }>(statement)).rows.map(({ row }) => row);
const sessions = () => rows('SELECT s::text AS row FROM policy.sessions s ORDER BY id');

describe('mayfly-policy recover', () => {
  it('lets an administrator in again, with one event that names host and user, and touches no session', async () => {
    await policy.open(analyst);
    const { token: old } = await policy.open(personIn('platform'));
    const asked = { token: old, document: policy.document, end_leases: false, source_ip: sourceIp };
    const before = await sessions();
    const document = policy.document.replace('org: acme, kind: person', 'org: acme, kind: human');
    expect(await recover(document)).toEqual({
      status: 0,
      stdout: 'version 2 is the newest now\n',
      stderr: '',
    });

    expect(await sessions()).toEqual(before);
    const applied = (await policy.outbox()).filter(({ data }) => data.config_version === 2);
    const [host, osUser] = [hostname(), userInfo().username];
    expect(applied).toEqual([
      expect.objectContaining({
        type: 'dev.mayfly.config.applied.v1',
        data: expect.objectContaining({
          reason: 'applied by mayfly-policy recover',
          action_context: expect.objectContaining({ applied_by: 'recovery', host, os_user: osUser }),
        }),
      }),
    ]);
    await policy.get(ApplyConfig).run({ ...asked, dry_run: true }); // Looks for the newest version, as the loop does once a second.
    const { token } = await policy.open({ ...personIn('platform'), kind: 'human' });
    const { versions } = await policy.get(ListConfigVersions).run({ token, limit: 1, source_ip: sourceIp });
    expect(versions).toMatchObject([
      {
        version: 2,
        applied_by: 'recovery',
        applied_from: `host ${host}, user ${osUser}`,
        sessions_kept: true,
      },
    ]);
    // The next document makes up for it: it ends the one that the recovery had to keep.
    const next = `${document}# next\n`;
    const more = { token, document: next, end_leases: false, source_ip: sourceIp };
    expect(await policy.get(ApplyConfig).run({ ...more, dry_run: true })).toMatchObject({
      ending_sessions: 1,
    });
    expect(await policy.get(ApplyConfig).run(more)).toMatchObject({ version: 3, sessions_ended: 1 });
    await expect(policy.get(ApplyConfig).run(asked)).rejects.toMatchObject({ code: 'unauthenticated' });
  });

  it('validates as an administrator’s apply does, and changes nothing when it refuses', async () => {
    const rejected = await recover(policy.document.replace('provider: jwt', 'provider: jvt'));
    expect(rejected).toMatchObject({ status: 2, stdout: expect.stringMatching(/mayfly\.yaml:\d+:\d+: /) });

    const nobody = policy.document.replace('platform: platform_administrator', 'platform: auditor');
    expect(await recover(nobody)).toMatchObject({
      status: 20,
      stderr: expect.stringMatching(/platform administrator/),
    });

    const { token } = await policy.open(analyst);
    await policy.get(Decide).run({
      token,
      credential: 'tool/read',
      reply_key: policy.replyKey.publicJwk,
      source_ip: sourceIp,
    });
    const without = policy.document.replace(/ {2}- name: tool\/read\n(?: {4}.*\n)+/, '');
    expect(await recover(without)).toMatchObject({
      status: 20,
      stderr: expect.stringMatching(/1 live lease/),
    });
    expect(await rows('SELECT version::text AS row FROM policy.config_versions')).toEqual(['1']);

    expect(await recover(without, '--end-leases')).toMatchObject({ status: 0 });
    const orders = (await policy.outbox()).filter(({ type }) => type === 'dev.mayfly.config.removed.v1');
    // By the schema that revocation reads it with: what does not fit is put aside, and no lease would end.
    expect(orders.map(({ data }) => OrderData.parse(data))).toEqual([
      expect.objectContaining({
        organization: 'acme',
        revocation_id: expect.any(String),
        action_context: expect.objectContaining({ subject: { kind: 'credential', id: 'tool/read' } }),
      }),
    ]);
    expect(await recover(nobody, '--lock-me-out')).toMatchObject({ status: 0 });
  });

  it('works where the newest version can not be read', async () => {
    await policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES (2, 'from: a later release', 'x', now(), 'somebody')`,
    );
    expect(await recover(policy.document)).toMatchObject({
      status: 0,
      stdout: 'version 3 is the newest now\n',
    });
  });

  it('is told by a metric and the log of every policy, also when something was applied since', async () => {
    expect(await recover(`${policy.document}# recovered\n`)).toMatchObject({ status: 0 });
    await policy.database.pool.query(
      `INSERT INTO policy.config_versions VALUES (3, $1, 'y', now(), 'somebody')`,
      [policy.document],
    );
    const lines: string[] = [];
    const logger = createLogger({ service: 'policy', destination: { write: (line) => lines.push(line) } });
    const running = new RunningConfiguration(policy.database.pool, logger);
    await running.refresh();
    const set: number[] = [];
    const gauge = { set: (value: number) => void set.push(value) };
    const recoveries = new Recoveries({ pool: policy.database.pool, running, gauge, logger });
    await recoveries.look();
    await recoveries.look();
    expect(set).toEqual([expect.closeTo(Date.now() / 1000, -2)]);
    expect(lines.filter((line) => line.includes('mayfly-policy recover'))).toEqual([
      expect.stringMatching(/"level":"error".*"config_version":2/),
    ]);
  });

  it('explains itself, and says what is missing', async () => {
    const { connectionString } = policy.database;
    expect(await run(['--help'], connectionString)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/Usage/),
    });
    for (const args of [
      [],
      ['recover'],
      ['recover', '--config'],
      ['restore', '--config', 'x'],
      ['recover', '--x'],
    ]) {
      expect(await run(args, connectionString)).toMatchObject({
        status: 2,
        stderr: expect.stringMatching(/Usage/),
      });
    }
    const nowhere = await run(['recover', '--config', '/nowhere.yaml'], connectionString);
    expect(nowhere).toMatchObject({ status: 2, stdout: '' });
    const away = 'postgres://nobody:hunter2@127.0.0.1:1/none';
    await writeFile(join(folder, 'mayfly.yaml'), policy.document);
    const failed = await run(['recover', '--config', join(folder, 'mayfly.yaml')], away);
    expect(failed.status).toBe(18);
    expect(failed.stderr).not.toContain('hunter2');
  });
});
