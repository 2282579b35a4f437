/** Reading a file that only its owner may read and write, without being led elsewhere. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { systemErrorCode } from '../failure.ts';
import { stepOf, whyNotOwn } from './way.ts';

export type PrivateFile =
  | { readonly outcome: 'read'; readonly content: string }
  | { readonly outcome: 'missing' }
  /** `why` is a sentence without its full stop. */
  | { readonly outcome: 'distrusted'; readonly why: string };

/**
 * Opens the file once and looks at what it has opened: no symbolic link at its end is followed, and no pipe waited for. Mayfly
 * writes such files 0600, which is also what version control never makes of a file that somebody else has put into a repository.
 */
export function readPrivateFile(path: string, maxBytes: number): PrivateFile {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return { outcome: 'missing' };
    // Linux and macOS say ELOOP for a link that is not to be followed (open(2)).
    return {
      outcome: 'distrusted',
      why: code === 'ELOOP' ? `${path} is a symbolic link` : `${path} can't be read`,
    };
  }
  try {
    const stats = fstatSync(file);
    const why = whyNotOwn(stepOf(path, stats), 'file');
    if (why !== undefined) return { outcome: 'distrusted', why };
    if ((stats.mode & 0o077) !== 0) return { outcome: 'distrusted', why: `${path} can be read by others` };
    if (stats.size > maxBytes) return { outcome: 'distrusted', why: `${path} is too large` };
    const buffer = Buffer.alloc(maxBytes);
    const length = readSync(file, buffer, 0, maxBytes, 0);
    return { outcome: 'read', content: buffer.toString('utf8', 0, length) };
  } finally {
    closeSync(file);
  }
}
