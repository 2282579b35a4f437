/**
 * Resolves secret references: `env:NAME` and `file:/absolute/path`. A reference is read again at each use, so a rotated
 * secret works at once, and only within the prefixes that policy signed for the organization (I5). Mayfly's own
 * keys and settings are never resolvable. Fails closed, always with the same sentence; the why goes into `cause`.
 */
import { constants, open, realpath } from 'node:fs/promises';
import { posix, resolve, sep } from 'node:path';
import { Secret } from '@mayfly/domain';
import { ProviderRejected } from '../providers/provider-error.ts';

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
    if (!prefixes.some((prefix) => prefix.length > 0 && reference.startsWith(prefix))) {
      throw refused('is outside the prefixes of the organization');
    }
    const [, scheme, rest = ''] = /^(env|file):(.+)$/s.exec(reference) ?? [];
    const value =
      scheme === 'env' ? this.#variable(rest) : scheme === 'file' ? await this.#file(rest) : undefined;
    const trimmed = value?.replace(/\r?\n$/, '');
    if (trimmed === undefined || trimmed === '') throw refused('names nothing');
    return new Secret(trimmed);
  }

  #variable(name: string): string | undefined {
    // Whatever case: on some systems the names of variables have none.
    if (/^mayfly_/i.test(name)) throw refused("is one of Mayfly's own settings");
    const value = this.#environment[name];
    if (value !== undefined && Buffer.byteLength(value) > maxSecretBytes) throw refused('is too large');
    return value;
  }

  async #file(path: string): Promise<string> {
    // A path that is not in its plain form could match a prefix and still lead elsewhere.
    if (!path.startsWith('/') || posix.normalize(path) !== path || path.includes('\0')) {
      throw refused('is not a plain absolute path');
    }
    try {
      // A link is followed (Kubernetes mounts secrets as links), so where it ends is what counts.
      const target = await realpath(path);
      const own = await Promise.all(this.#ownPaths.map((ownPath) => realpath(ownPath).catch(() => ownPath)));
      if ([...own, ...this.#ownPaths, ...systemFolders].some((folder) => isWithin(target, folder))) {
        throw refused("is one of Mayfly's own files or the system's");
      }
      // A pipe without a writer would hold a thread for ever, were it waited for.
      const file = await open(target, constants.O_RDONLY | constants.O_NONBLOCK);
      try {
        const stat = await file.stat();
        if (!stat.isFile() || stat.size > maxSecretBytes) throw refused('is no file, or too large');
        const buffer = Buffer.alloc(maxSecretBytes);
        const { bytesRead } = await file.read(buffer, 0, maxSecretBytes, 0);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (error) {
      throw error instanceof ProviderRejected ? error : refused('cannot be read', error);
    }
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** One sentence for all: what exists outside its prefixes is not an organization's to know. */
function refused(why: string, cause?: unknown): ProviderRejected {
  return new ProviderRejected('a secret of the integration cannot be resolved', {
    cause: new Error(`the reference ${why}`, { cause }),
  });
}
