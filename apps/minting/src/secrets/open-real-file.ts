/**
 * Opens a file and tells where it really is. Between asking where a path leads and opening it, whoever can write in a folder
 * on the way can change it; so the question is put again of what has been opened, which nobody can change any more.
 */
import { constants, open, readlink, realpath, type FileHandle } from 'node:fs/promises';

/** A mounted secret that is renewed just now moves once: what is asked for three times has another reason to be away. */
const mostTries = 3;

/**
 * Opens `path` for reading if `isAllowed` says yes to its real path, before it is opened (opening a device can do something) and
 * after. Undefined where it says no. Throws what the system says of a path that can't be opened.
 */
export async function openRealFile(
  path: string,
  isAllowed: (realPath: string) => Promise<boolean>,
): Promise<FileHandle | undefined> {
  for (let triesLeft = mostTries - 1; ; triesLeft--) {
    const target = await realpath(path);
    if (!(await isAllowed(target))) return undefined;
    const file = await openTarget(target).catch((error: unknown) => {
      if (triesLeft > 0) return undefined;
      throw error;
    });
    if (file !== undefined && (await isWhereAllowed(file, target, isAllowed))) return file;
    await file?.close();
    if (triesLeft === 0) return undefined;
  }
}

/** A pipe without a writer would hold a thread for ever, were it waited for; a link that was not there before is not followed. */
function openTarget(target: string): Promise<FileHandle> {
  return open(target, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
}

async function isWhereAllowed(
  file: FileHandle,
  target: string,
  isAllowed: (realPath: string) => Promise<boolean>,
): Promise<boolean> {
  return realPathOf(file, target).then(isAllowed, () => false);
}

/**
 * Where an open file is: on Linux by the kernel's own word (proc(5), `/proc/pid/fd`). Elsewhere, on developers' machines, by asking
 * the path again, which narrows the gap and does not close it.
 */
function realPathOf(file: FileHandle, target: string): Promise<string> {
  return process.platform === 'linux' ? readlink(`/proc/self/fd/${file.fd}`) : realpath(target);
}
