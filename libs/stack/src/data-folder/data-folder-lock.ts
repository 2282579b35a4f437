/** One stack per data folder, and the leftovers of one that was killed are ended before the next begins. */
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { identifyProcess, stillRuns, type ProcessIdentity } from '../processes/process-identity.ts';
import { signalGroup } from '../processes/sentinel.ts';
import { waitUntil } from '../processes/wait-until.ts';

/** A data folder that is ours until `release`. */
export interface DataFolderLock {
  /** Writes down the processes of this stack, for whoever must clean up after it. */
  recordProcesses(processes: readonly ProcessIdentity[]): void;
  release(): void;
}

/** Another stack runs on the same folder. */
export class DataFolderInUse extends Error {
  override readonly name = 'DataFolderInUse';
}

const identitySchema = z.object({ pid: z.int().positive(), started: z.string() });
const lockSchema = z.object({ holder: identitySchema, processes: z.array(identitySchema) });
type LockContent = z.infer<typeof lockSchema>;

/** Milliseconds that leftovers get to end by themselves, and again after SIGKILL. */
const LEFTOVER_DEADLINE_MS = 5_000;

/** Takes the folder. @throws DataFolderInUse */
export async function lockDataFolder(dataDirectory: string): Promise<DataFolderLock> {
  const path = join(dataDirectory, 'stack.lock');
  const holder = identifyProcess(process.pid);
  if (holder === undefined) throw new Error('This process could not identify itself.');
  for (;;) {
    if (createLock(path, { holder, processes: [] })) break;
    const found = readLock(path);
    if (found !== undefined && stillRuns(found.holder))
      throw new DataFolderInUse(
        `Mayfly already runs on ${dataDirectory} (process ${String(found.holder.pid)}): stop it, or choose another data folder.`,
      );
    if (found !== undefined) await endLeftovers(found.processes);
    removeStaleLock(path, found);
  }
  const write = (content: LockContent): void => {
    const staged = `${path}.${String(process.pid)}.new`;
    writeFileSync(staged, JSON.stringify(content), { mode: 0o600 });
    renameSync(staged, path);
  };
  let held = true;
  return {
    recordProcesses: (processes) => {
      if (held) write({ holder, processes: [...processes] });
    },
    release: () => {
      if (!held) return;
      held = false;
      rmSync(path, { force: true });
    },
  };
}

function createLock(path: string, content: LockContent): boolean {
  const staged = `${path}.${String(process.pid)}.new`;
  writeFileSync(staged, JSON.stringify(content), { mode: 0o600 });
  try {
    // link() is atomic and refuses an existing name, unlike rename().
    linkSync(staged, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    rmSync(staged, { force: true });
  }
}

function readLock(path: string): LockContent | undefined {
  try {
    return lockSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
}

/** Two may find the same stale lock; the slower one must not remove the quicker one's new lock. */
function removeStaleLock(path: string, stale: LockContent | undefined): void {
  const aside = `${path}.${String(process.pid)}.stale`;
  try {
    renameSync(path, aside);
    const moved = readLock(aside);
    const isAnothersNewLock =
      moved !== undefined && moved.holder.pid !== stale?.holder.pid && stillRuns(moved.holder);
    if (isAnothersNewLock) linkSync(aside, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

async function endLeftovers(processes: readonly ProcessIdentity[]): Promise<void> {
  const allGone = (): boolean => !processes.some(stillRuns);
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (allGone()) return;
    for (const leftover of processes.filter(stillRuns)) {
      signalGroup(leftover.pid, signal);
      if (signal === 'SIGTERM') signalGroup(leftover.pid, 'SIGCONT');
    }
    await waitUntil('the end of leftover processes', allGone, { deadlineMs: LEFTOVER_DEADLINE_MS }).catch(
      () => undefined,
    );
  }
}
