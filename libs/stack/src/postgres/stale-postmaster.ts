/** What a Postgres left behind that did not end by itself: its pid file, or a server that still runs. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { commandLine, identifyProcess } from '../processes/process-identity.ts';
import { waitUntil } from '../processes/wait-until.ts';

/**
 * Ends a leftover server of this cluster and removes a pid file whose number now belongs to some other process.
 * (Postgres itself removes one whose process is gone, but takes any process with that number for a server.)
 */
export async function clearStalePostmaster(clusterFolder: string): Promise<void> {
  const pidFile = join(clusterFolder, 'postmaster.pid');
  let pid: number;
  try {
    pid = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
  } catch {
    return;
  }
  const isGone = (): boolean => identifyProcess(pid) === undefined || !isServerOf(pid, clusterFolder);
  if (!isGone()) {
    // SIGINT: fast shutdown, SIGQUIT: immediate (Postgres documentation, "Shutting Down the Server").
    process.kill(pid, 'SIGINT');
    try {
      await waitUntil('the end of the leftover Postgres', isGone, { deadlineMs: 10_000 });
    } catch {
      process.kill(pid, 'SIGQUIT');
      await waitUntil('the end of the leftover Postgres', isGone, { deadlineMs: 10_000 });
    }
  }
  rmSync(pidFile, { force: true });
}

function isServerOf(pid: number, clusterFolder: string): boolean {
  const command = commandLine(pid);
  return command.includes('postgres') && command.includes(clusterFolder);
}
