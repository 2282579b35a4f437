/** This process' user, as far as rights of files are concerned. */
import { readFileSync } from 'node:fs';

export interface User {
  readonly uid: number;
  /** The group that has nobody else in it, where the system gives each user one; its rights are the user's own. */
  readonly privateGroup: number | undefined;
}

/** Undefined where the system has no such users. */
export function thisUser(): User | undefined {
  const uid = process.getuid?.();
  if (uid === undefined) return undefined;
  return { uid, privateGroup: privateGroupOf(uid, contentOf('/etc/passwd'), contentOf('/etc/group')) };
}

/**
 * The group of a user whose name it has and who alone is in it, as Debian and Fedora make one for each user, with an umask that lets
 * it write. Undefined where passwd(5) and group(5) do not tell, as with users of a directory service.
 */
export function privateGroupOf(uid: number, passwd: string, group: string): number | undefined {
  const users = recordsOf(passwd);
  const own = users.find((user) => user[2] === String(uid));
  if (own === undefined) return undefined;
  const [name, , , gid] = own;
  const groups = recordsOf(group).filter((record) => record[2] === gid);
  const others =
    groups.some((record) =>
      (record[3] ?? '').split(',').some((member) => member !== '' && member !== name),
    ) || users.some((user) => user[3] === gid && user[2] !== String(uid));
  return groups.length === 1 && groups[0]?.[0] === name && !others ? Number(gid) : undefined;
}

function recordsOf(content: string): string[][] {
  return content
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
