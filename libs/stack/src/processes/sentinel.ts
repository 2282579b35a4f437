/**
 * Children must not outlive their parent, not even one that was killed with SIGKILL. A tiny shell keeps the
 * process groups of the running children and reads from a pipe of ours; when the pipe closes because we are gone, it
 * ends what is left. It lives only while there are children.
 */
import { spawn, type ChildProcess } from 'node:child_process';

/** Seconds between asking the children to end and killing them, once the parent is gone. */
const GRACE_SECONDS = 3;

/** `+ <pid> <signal>` adds a process group, `- <pid>` takes it off; at the end of the input what is left is ended. */
const SENTINEL_SCRIPT = `
groups=''
while read -r sign pid signal; do
  case "$sign" in
    +) groups="$groups $pid:$signal" ;;
    -) rest=''
       for entry in $groups; do [ "\${entry%%:*}" = "$pid" ] || rest="$rest $entry"; done
       groups="$rest" ;;
  esac
done
[ -n "$groups" ] || exit 0
for entry in $groups; do kill -s "\${entry##*:}" -- "-\${entry%%:*}" 2>/dev/null; done
sleep ${String(GRACE_SECONDS)}
for entry in $groups; do kill -s KILL -- "-\${entry%%:*}" 2>/dev/null; done
`;

const guarded = new Map<number, NodeJS.Signals>();
let sentinel: ChildProcess | undefined;

/** From now on the process group `pid` ends with this process. */
export function guardChild(pid: number, stopSignal: NodeJS.Signals): void {
  if (process.platform === 'win32') return;
  if (guarded.size === 0) process.on('exit', endGuardedChildren);
  guarded.set(pid, stopSignal);
  if (sentinel === undefined) {
    sentinel = spawn('/bin/sh', ['-c', SENTINEL_SCRIPT], {
      detached: true,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    sentinel.on('error', () => undefined);
    sentinel.stdin?.on('error', () => undefined);
    sentinel.unref();
    (sentinel.stdin as { unref?: () => void } | null)?.unref?.();
  }
  tell(`+ ${String(pid)} ${stopSignal.replace('SIG', '')}`);
}

/** The process group `pid` has ended; nothing is left to watch over. */
export function releaseChild(pid: number): void {
  if (!guarded.delete(pid)) return;
  tell(`- ${String(pid)}`);
  if (guarded.size > 0) return;
  process.off('exit', endGuardedChildren);
  sentinel?.stdin?.end();
  sentinel = undefined;
}

function tell(line: string): void {
  sentinel?.stdin?.write(`${line}\n`);
}

function endGuardedChildren(): void {
  for (const [pid, signal] of guarded) signalGroup(pid, signal);
}

/** Sends a signal to a process group; false when it is gone. */
export function signalGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(process.platform === 'win32' ? pid : -pid, signal);
    return true;
  } catch {
    return false;
  }
}
