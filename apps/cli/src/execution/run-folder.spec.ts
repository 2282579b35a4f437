import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { removeLeftovers, RunFolder } from './run-folder.ts';

let base: string;
let place: string;
let env: Record<string, string>;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'mayfly-run-'));
  place = join(base, 'mayfly');
  env = { XDG_RUNTIME_DIR: base };
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

/** As a killed run leaves it: a socket at which nobody listens any more. */
async function leaveBehind(name: string, file = 'PGPASSFILE'): Promise<string> {
  const folder = join(place, name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(place, 0o700);
  const script = `require('node:net').createServer().listen(${JSON.stringify(join(folder, 'alive'))}, () => process.kill(process.pid, 'SIGKILL'))`;
  await once(spawn(process.execPath, ['-e', script]), 'exit');
  writeFileSync(join(folder, file), 'secret', { mode: 0o600 });
  return folder;
}

describe('the folder of a run', () => {
  it('is its own, and gone with it', async () => {
    const run = await RunFolder.make(env);
    expect(run.path).toMatch(new RegExp(`^${place}/run-`));
    writeFileSync(join(run.path, 'X'), 'secret');
    run.remove();
    expect(readdirSync(place)).toEqual([]);
  });

  it('is not made where others can write or read', async () => {
    mkdirSync(place);
    for (const mode of [0o777, 0o755, 0o770]) {
      chmodSync(place, mode);
      const elsewhere = await RunFolder.make(env);
      expect(elsewhere.path.startsWith(base)).toBe(false);
      elsewhere.remove();
    }
    chmodSync(place, 0o700);
    chmodSync(base, 0o777);
    const elsewhere = await RunFolder.make(env);
    expect(elsewhere.path.startsWith(base)).toBe(false);
    elsewhere.remove();
    expect(readdirSync(place)).toEqual([]);
  });

  it('is not made through a link that lies in its place', async () => {
    mkdirSync(join(base, 'trap'), { mode: 0o700 });
    symlinkSync('trap', place);
    const elsewhere = await RunFolder.make(env);
    expect(elsewhere.path.startsWith(base)).toBe(false);
    elsewhere.remove();
    expect(readdirSync(join(base, 'trap'))).toEqual([]);
  });
});

describe('leftovers', () => {
  it('of a killed run are removed and told, those of a live one are not', async () => {
    const live = await RunFolder.make(env);
    writeFileSync(join(live.path, 'PGPASSFILE'), 'secret');
    const left = await leaveBehind('run-killed');
    expect(await removeLeftovers(env)).toEqual([{ folder: left, files: ['PGPASSFILE'] }]);
    expect(readFileSync(join(live.path, 'PGPASSFILE'), 'utf8')).toBe('secret');
    expect(readdirSync(place)).toHaveLength(1);
    expect(await removeLeftovers(env)).toEqual([]);
    live.remove();
  });

  it('of a run that was killed while its folder was made are removed, one that is being made is not', async () => {
    await leaveBehind('making-killed');
    mkdirSync(join(place, 'making-now'));
    await removeLeftovers(env);
    expect(readdirSync(place)).toEqual(['making-now']);
  });

  it('are looked for in no folder that others can write', async () => {
    const left = await leaveBehind('run-killed');
    chmodSync(place, 0o777);
    expect(await removeLeftovers(env)).toEqual([]);
    expect(existsSync(left)).toBe(true);
  });

  it('that are links are not followed', async () => {
    const left = await leaveBehind('run-killed');
    writeFileSync(join(base, 'precious'), 'kept');
    mkdirSync(join(base, 'folder'));
    writeFileSync(join(base, 'folder', 'precious'), 'kept');
    symlinkSync(join(base, 'folder'), join(left, 'inside'));
    symlinkSync(join(base, 'precious'), join(left, 'file'));
    symlinkSync(join(base, 'folder'), join(place, 'run-link'));
    await removeLeftovers(env);
    expect(readdirSync(place)).toEqual(['run-link']);
    expect(readdirSync(join(base, 'folder'))).toEqual(['precious']);
    expect(existsSync(join(base, 'precious'))).toBe(true);
  });

  it('are no files that Mayfly did not make', async () => {
    const left = await leaveBehind('run-killed');
    renameSync(left, join(place, 'else'));
    expect(await removeLeftovers(env)).toEqual([]);
    expect(readdirSync(place)).toEqual(['else']);
  });
});
