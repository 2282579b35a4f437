/** Installing a Debian package without a question and without starting the service it brings. */
import { spawnSync } from 'node:child_process';
import { accessSync, chmodSync, constants, existsSync, rmSync, writeFileSync } from 'node:fs';

/** Debian's hook that is asked before a package's service is started (invoke-rc.d(8), deb-systemd-invoke(1)). */
const POLICY_HOOK = '/usr/sbin/policy-rc.d';

/** Whether this process may install Debian packages: root on a system with apt-get. */
export function mayInstallDebianPackages(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  try {
    accessSync('/usr/bin/apt-get', constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Installs one package. The package lists are fetched only when the first try fails, as in a fresh container.
 * @throws Error with apt-get's last line
 */
export function installDebianPackage(packageName: string): void {
  const restore = forbidServiceStarts();
  try {
    if (aptGet('install', packageName).status === 0) return;
    const update = aptGet('update');
    if (update.status !== 0) throw new Error(`apt-get update failed: ${lastLine(update.stderr)}`);
    const install = aptGet('install', packageName);
    if (install.status !== 0)
      throw new Error(`apt-get install ${packageName} failed: ${lastLine(install.stderr)}`);
  } finally {
    restore();
  }
}

function aptGet(
  command: 'install' | 'update',
  ...packages: string[]
): { status: number | null; stderr: string } {
  const options =
    command === 'install' ? ['--yes', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=60'] : [];
  return spawnSync('/usr/bin/apt-get', [command, '-qq', ...options, ...packages], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 300_000,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
  });
}

/** A hook that is already there is somebody's decision and stays. */
function forbidServiceStarts(): () => void {
  if (existsSync(POLICY_HOOK)) return () => undefined;
  // 101: "action forbidden by policy" (invoke-rc.d(8)).
  writeFileSync(POLICY_HOOK, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
  chmodSync(POLICY_HOOK, 0o755);
  return () => {
    rmSync(POLICY_HOOK, { force: true });
  };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
