/**
 * Resolves secret references: `env:NAME` and `file:/absolute/path`. A reference is read again at each use, so a rotated
 * secret works at once, and only within the prefixes that policy signed for the organization (I5): a file must really be in
 * what its prefix stands for, wherever links lead. Mayfly's own keys and settings are never resolvable. Fails closed, always with the
 * same sentence; which reference, and why, goes into `cause`, for the log.
 */
import { realpath } from 'node:fs/promises';
import { posix, resolve, sep } from 'node:path';
import { prefixesFor, Secret } from '@mayfly/domain';
import { ProviderRejected } from '../providers/provider-error.ts';
import { openRealFile } from './open-real-file.ts';
import { isInRealPrefix } from './real-prefix.ts';

/** Largest secret, in bytes. */
const maxSecretBytes = 65_536;

/** What a path may not lead into: `/proc/self/environ` would be every variable at once. */
const systemFolders = ['/proc', '/sys', '/dev'];

export interface SecretReaderOptions {
  /** Files and folders that are Mayfly's own: the key folder, the seed of the NATS user. */
  readonly ownPaths: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

export class SecretReader {
  readonly #environment: NodeJS.ProcessEnv;
  readonly #ownPaths: readonly string[];

  constructor(options: SecretReaderOptions) {
    this.#environment = options.environment ?? process.env;
    this.#ownPaths = options.ownPaths.map((path) => resolve(path));
  }

  /** The secret, without the line break at its end. Throws ProviderRejected. */
  async read(reference: string, prefixes: readonly string[]): Promise<Secret> {
    // By the same rule that documents are checked by.
    const fitting = prefixesFor(reference, prefixes);
    // Not named: what is no reference of the organization's may be anything, even a secret in the wrong place.
    if (fitting.length === 0) throw refused('a reference is outside the prefixes of the organization');
    const [, scheme, rest = ''] = /^(env|file):(.+)$/s.exec(reference) ?? [];
    if (scheme === undefined) throw refused('a reference is neither of a variable nor of a file');
    const found = scheme === 'env' ? this.#variable(rest) : await this.#file(rest, pathsOf(fitting));
    if ('problem' in found) throw refused(`${shown(reference)} ${found.problem}`, found.cause);
    const trimmed = found.value.replace(/\r?\n$/, '');
    if (trimmed === '') throw refused(`${shown(reference)} is empty`);
    return new Secret(trimmed);
  }

  #variable(name: string): Found {
    // Whatever case: on some systems the names of variables have none.
    if (/^mayfly_/i.test(name)) return { problem: "is one of Mayfly's own settings" };
    const value = this.#environment[name];
    if (value === undefined) return { problem: 'is not set in the environment of minting' };
    return Buffer.byteLength(value) > maxSecretBytes ? { problem: 'is too large' } : { value };
  }

  async #file(path: string, prefixes: readonly string[]): Promise<Found> {
    // A path that is not in its plain form could match a prefix and still lead elsewhere.
    if (!path.startsWith('/') || posix.normalize(path) !== path || path.includes('\0')) {
      return { problem: 'is not a plain absolute path' };
    }
    try {
      // Links are followed (Kubernetes mounts secrets as links), so where they end is what counts.
      const file = await openRealFile(path, (realPath) => this.#mayRead(realPath, path, prefixes));
      if (file === undefined)
        return { problem: "leads out of its prefix, or to Mayfly's own or the system's files" };
      try {
        const stat = await file.stat();
        if (!stat.isFile() || stat.size > maxSecretBytes) return { problem: 'is no file, or too large' };
        const buffer = Buffer.alloc(maxSecretBytes);
        const { bytesRead } = await file.read(buffer, 0, maxSecretBytes, 0);
        return { value: buffer.toString('utf8', 0, bytesRead) };
      } finally {
        await file.close();
      }
    } catch (cause) {
      return { problem: 'cannot be read', cause: systemCodeOf(cause) };
    }
  }

  async #mayRead(realPath: string, path: string, prefixes: readonly string[]): Promise<boolean> {
    const own = await Promise.all(this.#ownPaths.map((ownPath) => realpath(ownPath).catch(() => ownPath)));
    if ([...own, ...this.#ownPaths, ...systemFolders].some((folder) => isWithin(realPath, folder)))
      return false;
    const inPrefix = await Promise.all(prefixes.map((prefix) => isInRealPrefix(realPath, path, prefix)));
    return inPrefix.includes(true);
  }
}

/** What a reference led to, or why to nothing: for the log, which names the reference. */
type Found = { readonly value: string } | { readonly problem: string; readonly cause?: unknown };

/** Of prefixes that begin with `file:` and fit a reference to a file; those that end within `file:` name no folder. */
function pathsOf(prefixes: readonly string[]): string[] {
  return prefixes.flatMap((prefix) => (prefix.startsWith('file:/') ? [prefix.slice('file:'.length)] : []));
}

/** References name things and hold no secret. Bounded. */
function shown(reference: string): string {
  return reference.slice(0, 256);
}

/** `ENOENT` and so on, without the paths that the system's messages have: they may be of another's folder. */
function systemCodeOf(error: unknown): Error | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? Object.assign(new Error(code), { code }) : undefined;
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** One sentence for all: what exists outside its prefixes is not an organization's to know. */
function refused(why: string, cause?: unknown): ProviderRejected {
  return new ProviderRejected('a secret of the integration cannot be resolved', {
    cause: new Error(why, cause === undefined ? {} : { cause }),
  });
}
