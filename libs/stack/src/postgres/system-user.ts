/** Postgres refuses to run as root, so root runs it as the system user `postgres`, made on first use. */
import { spawnSync } from 'node:child_process';

/** A user of the operating system. */
export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

const USER_NAME = 'postgres';

/** The user to run Postgres as, or undefined for ourselves. @throws Error when root can't make the user */
export function postgresSystemUser(): SystemUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const existing = lookUp();
  if (existing !== undefined) return existing;
  const args = ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', USER_NAME];
  const { status, stderr, error } = spawnSync('useradd', args, { encoding: 'utf8' });
  const user = lookUp();
  if (user === undefined) {
    const why = error?.message ?? (stderr.trim() || `exit status ${String(status)}`);
    throw new Error(
      `Postgres does not run as root, and the system user ${USER_NAME} could not be made: ${why}. ` +
        'Make it, run as another user, or name a server in MAYFLY_POSTGRES_URL.',
    );
  }
  return user;
}

/** Whether `user` can get at `path` through all its parent folders; asked of the system, so ACLs count. */
export function canReach(user: SystemUser, path: string): boolean {
  // The shell stays in its folder: an unreachable one would make it complain, not fail.
  return (
    spawnSync('/bin/sh', ['-c', 'test -x "$1"', 'sh', path], { cwd: '/', ...user, stdio: 'ignore' })
      .status === 0
  );
}

function lookUp(): SystemUser | undefined {
  const [uid, gid] = ['-u', '-g'].map((flag) => {
    const { status, stdout } = spawnSync('id', [flag, USER_NAME], { encoding: 'utf8' });
    return status === 0 ? Number.parseInt(stdout, 10) : Number.NaN;
  });
  return uid !== undefined && gid !== undefined && uid > 0 && gid >= 0 ? { uid, gid } : undefined;
}
