/** Telling whether a process id that was written down earlier still means the same process. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** A process as it can be written down and recognised after a restart of whoever wrote it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in whatever form the system gives; a reused pid has another. */
  readonly started: string;
}

/** The identity of a running process, or undefined when there is no such process (or only its zombie). */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  if (!Number.isSafeInteger(pid) || pid <= 0 || !isAlive(pid)) return undefined;
  if (process.platform === 'linux') {
    const fields = linuxStat(pid);
    if (fields === undefined || fields[0] === 'Z') return undefined;
    // Field 22 of /proc/<pid>/stat, starttime (proc(5)); the first two fields are cut off here.
    return { pid, started: fields[19] ?? '' };
  }
  const { stdout, status } = spawnSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
  return status === 0 && stdout.trim() !== '' ? { pid, started: stdout.trim() } : undefined;
}

/** Whether the process that was written down still runs. */
export function stillRuns(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.started === identity.started;
}

/** The command line of a process, arguments separated by spaces; '' when there is none or it may not be seen. */
export function commandLine(pid: number): string {
  if (process.platform === 'linux') {
    try {
      return readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')
        .replaceAll('\0', ' ')
        .trim();
    } catch {
      return '';
    }
  }
  return spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function linuxStat(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold anything, so count from the last one.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}
