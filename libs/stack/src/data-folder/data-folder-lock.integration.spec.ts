import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { identifyProcess, stillRuns } from '../processes/process-identity.ts';
import { DataFolderInUse, lockDataFolder } from './data-folder-lock.ts';

describe('lockDataFolder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mayfly-lock-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it('keeps a second stack out, in a sentence, until it is released', async () => {
    const lock = await lockDataFolder(folder);
    const refused = new DataFolderInUse(
      `Mayfly already runs on ${folder} (process ${String(process.pid)}): stop it, or choose another data folder.`,
    );
    await expect(lockDataFolder(folder)).rejects.toThrow(refused);
    lock.release();
    (await lockDataFolder(folder)).release();
  });

  it('takes over from a holder that is gone, also when its number is in use again', async () => {
    const holder = { pid: process.pid, started: 'another time' };
    writeFileSync(join(folder, 'stack.lock'), JSON.stringify({ holder, processes: [] }));
    (await lockDataFolder(folder)).release();
  });

  it('takes over an unreadable lock', async () => {
    writeFileSync(join(folder, 'stack.lock'), '{"hol');
    (await lockDataFolder(folder)).release();
  });

  it('lets one of several win a stale lock', async () => {
    writeFileSync(join(folder, 'stack.lock'), 'stale');
    const outcomes = await Promise.allSettled([1, 2, 3].map(() => lockDataFolder(folder)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('ends the processes that a killed stack left behind, and no other with such a number', async () => {
    const leftover = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
    const bystander = spawn('sleep', ['60'], { detached: true, stdio: 'ignore' });
    try {
      const left = identifyProcess(leftover.pid ?? 0);
      const other = identifyProcess(bystander.pid ?? 0);
      if (left === undefined || other === undefined) throw new Error('The processes did not start.');
      const holder = { pid: process.pid, started: 'another time' };
      const processes = [left, { ...other, started: 'another time' }];
      writeFileSync(join(folder, 'stack.lock'), JSON.stringify({ holder, processes }));
      (await lockDataFolder(folder)).release();
      expect(stillRuns(left)).toBe(false);
      expect(stillRuns(other)).toBe(true);
    } finally {
      leftover.kill('SIGKILL');
      bystander.kill('SIGKILL');
    }
  });
});
