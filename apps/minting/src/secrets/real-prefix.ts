/**
 * Which real files a prefix of references stands for. A prefix is a piece of text, and links make a text say little about where a
 * file is: so the prefix is made real as well, and what is read must lie in it.
 */
import { realpath } from 'node:fs/promises';
import { posix } from 'node:path';

/** Where Kubernetes keeps what `..data` points to; no name of a secret can begin with two dots (its `atomic_writer.go`). */
const mountedVersion = /^\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+\//;

/**
 * Whether a real path is one that `prefix` stands for, `path` being the reference that begins with it.
 * - A prefix that is a folder, up to `path`, stands for all that is really in it; the folder itself may be reached by links.
 * - One that is `path` itself stands for that one file, wherever it is: whoever wrote the prefix named it.
 * - One that ends within a name stands for what begins with it in its real folder.
 * False where any of it is not there. Both paths are absolute and plain.
 */
export async function isInRealPrefix(realPath: string, path: string, prefix: string): Promise<boolean> {
  if (!path.startsWith(prefix)) return false;
  try {
    if (prefix.endsWith('/') || path[prefix.length] === '/') {
      const folder = await realpath(prefix);
      return realPath.startsWith(folder === '/' ? folder : `${folder}/`);
    }
    if (path === prefix) return realPath === (await realpath(prefix));
    const folder = await realpath(posix.dirname(prefix));
    const within = posix.relative(folder, realPath).replace(mountedVersion, '');
    return within.startsWith(posix.basename(prefix));
  } catch {
    return false;
  }
}
