/**
 * Who but this user can change what a path leads to. Whoever may write a folder on the way can put something else in its place, so
 * all of the way counts: each folder from the root downward, and each symbolic link with what it leads to.
 */
import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { thisUser, type User } from './user.ts';

/** Linux follows no more of them (path_resolution(7)). */
const mostLinks = 40;

/** One name on a way, as `lstat` tells of it. */
export interface Step {
  readonly path: string;
  readonly kind: 'folder' | 'link' | 'file' | 'other';
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
}

/** From the root to what `path` (absolute) leads to. Throws the error of the system when something is not there. */
export function wayTo(path: string): Step[] {
  const steps = [stepAt('/')];
  let at = '/';
  let links = 0;
  let names = namesOf(path);
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === '..') {
      at = dirname(at);
      continue;
    }
    const step = stepAt(join(at, name));
    steps.push(step);
    if (step.kind !== 'link') at = step.path;
    else {
      links += 1;
      if (links > mostLinks) throw Object.assign(new Error('too many links'), { code: 'ELOOP' });
      const target = readlinkSync(step.path);
      if (isAbsolute(target)) at = '/';
      names = [...namesOf(target), ...names];
    }
  }
  return steps;
}

/**
 * Why others could change what the way leads to, as the rest of a sentence that begins with a path; undefined when nobody but `user`
 * and root can. A folder like /tmp, writable by all, will do where only owners can rename in it (its sticky bit).
 */
export function whyOpenToOthers(
  way: readonly Step[],
  user: User | undefined = thisUser(),
): string | undefined {
  if (user === undefined)
    return `${way.at(-1)?.path ?? '/'} can't be checked: this system tells no users apart`;
  for (const { path, kind, uid, gid, mode } of way) {
    if (uid !== user.uid && uid !== 0) return `${path} belongs to another user`;
    // The mode of a link means nothing; who may replace it is the folder's matter.
    if (kind === 'link' || (mode & 0o1000) !== 0) continue;
    if ((mode & 0o002) !== 0) return `${path} can be written by everybody`;
    if ((mode & 0o020) !== 0 && gid !== user.privateGroup) return `${path} can be written by its group`;
  }
  return undefined;
}

/** What keeps `step` from being this user's own, writable by nobody else, not even by the user's group or through a link. */
export function whyNotOwn(
  { path, kind, uid, mode }: Step,
  expected: 'folder' | 'file',
  user: User | undefined = thisUser(),
): string | undefined {
  if (kind !== expected) return `${path} is ${kind === 'link' ? 'a symbolic link' : `no ${expected}`}`;
  if (uid !== user?.uid) return `${path} belongs to another user`;
  if ((mode & 0o022) !== 0) return `${path} can be written by others`;
  return undefined;
}

export function stepAt(path: string): Step {
  return stepOf(path, lstatSync(path));
}

export function stepOf(path: string, stats: Stats): Step {
  const kind = stats.isDirectory()
    ? 'folder'
    : stats.isSymbolicLink()
      ? 'link'
      : stats.isFile()
        ? 'file'
        : 'other';
  return { path, kind, uid: stats.uid, gid: stats.gid, mode: stats.mode };
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}
