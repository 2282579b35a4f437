import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { applyTestSettings } from './test-settings.ts';

const permitted = { MAYFLY_TESTS_ONLY: 'failpoints-and-clocks' };

describe('settings of tests', () => {
  let folder: string;
  let file: string;
  const warnings: string[] = [];
  const logger = { warn: (_fields: object, message: string) => warnings.push(message) };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-failpoints-'));
    file = join(folder, 'control.json');
    warnings.length = 0;
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('are refused without the permission, and in production even with it', () => {
    for (const setting of [{ MAYFLY_TEST_FAILPOINTS: file }, { MAYFLY_TEST_CLOCK_OFFSET_MS: '1000' }]) {
      expect(() => applyTestSettings(logger, setting)).toThrow('for tests only');
      expect(() => applyTestSettings(logger, { ...setting, MAYFLY_TESTS_ONLY: 'yes' })).toThrow();
      expect(() => applyTestSettings(logger, { ...setting, ...permitted, NODE_ENV: 'production' })).toThrow(
        'for tests only',
      );
    }
  });

  it('say nothing and do nothing when none is set', () => {
    applyTestSettings(logger, permitted);
    expect(warnings).toEqual([]);
  });

  /** A process of its own that passes two failpoints again and again, and prints what its clock says. */
  const run = (code: string, environment: Record<string, string>) => {
    const module = (name: string) => JSON.stringify(new URL(`./${name}`, import.meta.url).href);
    const script = `
      const { applyTestSettings } = await import(${module('test-settings.ts')});
      const { failpoint } = await import(${module('failpoints.ts')});
      applyTestSettings({ warn: (_fields, message) => console.log(message) });
      ${code}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { PATH: process.env['PATH'], ...permitted, ...environment },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    return once(child, 'close').then(([code_, signal]) => ({
      code: code_ as number,
      signal: signal as string,
      output,
    }));
  };

  it('kill the process at the named pass of the named step, once', async () => {
    writeFileSync(file, JSON.stringify({ at: 'minting.intent.after', action: 'kill', pass: 3 }));
    const passes = `for (let pass = 1; pass <= 5; pass++) {
      failpoint('minting.intent.before'); console.log('pass ' + pass); failpoint('minting.intent.after'); }`;
    const first = await run(passes, { MAYFLY_TEST_FAILPOINTS: file });
    expect(first.signal).toBe('SIGKILL');
    expect(first.output.match(/pass \d/g)).toEqual(['pass 1', 'pass 2', 'pass 3']);
    expect(first.output).toContain('failpoints are armed');
    expect([existsSync(file), existsSync(`${file}.taken`)]).toEqual([false, true]);
    const second = await run(passes, { MAYFLY_TEST_FAILPOINTS: file });
    expect(second).toMatchObject({ code: 0, signal: null });
  });

  it('leave the process alone when no control file is named', async () => {
    writeFileSync(file, JSON.stringify({ at: 'minting.intent.after', action: 'kill' }));
    expect(await run(`failpoint('minting.intent.after');`, {})).toMatchObject({ code: 0, output: '' });
    expect(existsSync(file)).toBe(true);
  });

  it('shift the clock that programs read, and no instant that is named', async () => {
    const { output } = await run(
      `const real = performance.timeOrigin + performance.now();
       console.log(JSON.stringify([Math.round((Date.now() - real) / 1000), Math.round((new Date() - real) / 1000),
         new Date(5).getTime(), new Date() instanceof Date, Date.UTC(1970, 0, 1), Math.round((Date.parse(Date()) - real) / 1000 / 10)]));`,
      { MAYFLY_TEST_CLOCK_OFFSET_MS: '-30000' },
    );
    expect(JSON.parse(output.trim().split('\n').at(-1) ?? '')).toEqual([-30, -30, 5, true, 0, -3]);
  });
});
