import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stillRuns, type ProcessIdentity } from './process-identity.ts';
import { startProcess, type ProcessOptions, type RunningProcess } from './start-process.ts';
import { waitUntil } from './wait-until.ts';

const env = { PATH: process.env['PATH'] ?? '' };

/** A child that runs this shell script. */
function shell(script: string, more: Partial<ProcessOptions> = {}): ProcessOptions {
  return { name: 'child', command: '/bin/sh', args: ['-c', script], env, ...more };
}

describe('startProcess', () => {
  let folder: string;
  const started: RunningProcess[] = [];
  async function start(options: ProcessOptions): Promise<RunningProcess> {
    const running = await startProcess(options);
    started.push(running);
    return running;
  }
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-process-'));
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((running) => running.stop()));
    rmSync(folder, { recursive: true, force: true });
  });

  it('returns when the probe says that it is ready', async () => {
    const flag = join(folder, 'ready');
    const running = await start(
      shell(`sleep 0.1; touch ${flag}; exec sleep 60`, { ready: () => Promise.resolve(existsSync(flag)) }),
    );
    expect(running.isRunning()).toBe(true);
    expect(existsSync(flag)).toBe(true);
  });

  it.each([
    ['through a pipe', () => ({})],
    ['from the log file', () => ({ logFile: join(folder, 'child.log') })],
  ])('tells the last lines of a child that ends before it is ready, %s', async (_how, more) => {
    const failing = startProcess(
      shell('echo listening soon; echo no such key >&2; exit 3', {
        ...more(),
        ready: () => Promise.resolve(false),
      }),
    );
    await expect(failing).rejects.toThrow(
      'child ended before it was ready (exit status 3)\n  | listening soon\n  | no such key',
    );
  });

  it('ends a child that is not ready in time', async () => {
    const pidFile = join(folder, 'pid');
    const failing = startProcess(
      shell(`echo $$ > ${pidFile}; exec sleep 60`, {
        ready: () => Promise.resolve(false),
        readyDeadlineMs: 300,
      }),
    );
    await expect(failing).rejects.toThrow('child was not ready within 300 ms');
    expect(() => process.kill(Number(readFileSync(pidFile, 'utf8')), 0)).toThrow();
  });

  it('says so when there is no such program', async () => {
    await expect(startProcess({ name: 'child', command: '/no/such/program', env })).rejects.toThrow(
      /child could not be started: .*ENOENT/u,
    );
  });

  it('kills a child that ignores being asked, and a paused one ends at once', async () => {
    const flag = join(folder, 'deaf');
    const deaf = await start(
      shell(`trap '' TERM; touch ${flag}; while :; do sleep 0.05; done`, {
        stopDeadlineMs: 200,
        ready: () => Promise.resolve(existsSync(flag)),
      }),
    );
    expect(await deaf.stop()).toEqual({ code: null, signal: 'SIGKILL' });
    const paused = await start(shell('exec sleep 60'));
    paused.kill('SIGSTOP');
    expect(await paused.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  });

  it('gives the child nothing of our environment but what it is told', async () => {
    const lines: string[] = [];
    const running = await start(
      shell('env', {
        env: { ...env, TOLD: 'yes' },
        onLine: (line) => lines.push(line),
        logFile: join(folder, 'log'),
      }),
    );
    await running.exited;
    const names = lines
      .map((line) => line.split('=')[0])
      .filter((name) => !['_', 'PWD', 'SHLVL', 'OLDPWD'].includes(name ?? ''));
    expect(names.sort()).toEqual(['PATH', 'TOLD']);
    expect(readFileSync(join(folder, 'log'), 'utf8')).toContain('TOLD=yes\n');
  });

  it('ends the children of a parent that was killed', async () => {
    // The parent runs the built library: it is a process of its own, outside Jest.
    const library = fileURLToPath(new URL('../../dist/index.js', import.meta.url));
    const script = `
      const { startProcess } = await import(${JSON.stringify(library)});
      const child = await startProcess({ name: 'child', command: 'sleep', args: ['60'], env: process.env });
      console.log(JSON.stringify(child.identity));
      setInterval(() => {}, 1000);`;
    let child: ProcessIdentity | undefined;
    const parent = await start({
      name: 'parent',
      command: process.execPath,
      args: ['--input-type=module', '-e', script],
      env,
      onLine: (line) => {
        child = JSON.parse(line) as ProcessIdentity;
      },
      ready: () => Promise.resolve(child !== undefined),
    });
    expect(child !== undefined && stillRuns(child)).toBe(true);
    parent.kill('SIGKILL');
    await waitUntil('the end of the orphan', () => child !== undefined && !stillRuns(child), {
      deadlineMs: 10_000,
    });
  });
});
