/**
 * A key file that is read again when it changes, so that rotation needs no restart. A file that became unreadable or
 * wrong fails closed: what was read before is not used any longer, because its removal may be the point.
 */
import { open } from 'node:fs/promises';
import { MayflyError } from '@mayfly/contracts';

/** Key files are small; anything larger is not one. Bytes. */
const maxFileBytes = 262_144;

/** A key file that can't be used. The message is one sentence for the operator; it holds no key material. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError';
}

export interface WatchOptions {
  /** How often a changed file is looked for, at most. Seconds, default 5; 0 looks at every use. */
  checkEverySeconds?: number;
}

export interface FileRules<T> {
  /** A private file is refused while group or others can read or write it. */
  readonly private: boolean;
  /** Throws KeyFileError. */
  readonly parse: (path: string, content: string) => T | Promise<T>;
}

export class WatchedFile<T> {
  #version = '';
  #value: T | undefined;
  #checkedAt = Number.NEGATIVE_INFINITY;
  #checking: Promise<T> | undefined;
  readonly #checkEveryMs: number;

  private constructor(
    private readonly path: string,
    private readonly rules: FileRules<T>,
    options: WatchOptions,
  ) {
    this.#checkEveryMs = (options.checkEverySeconds ?? 5) * 1000;
  }

  /** Reads the file now. Throws KeyFileError. */
  static async open<T>(
    path: string,
    rules: FileRules<T>,
    options: WatchOptions = {},
  ): Promise<WatchedFile<T>> {
    const file = new WatchedFile(path, rules, options);
    await file.#check();
    return file;
  }

  /** What the file holds, at most `checkEverySeconds` old. Throws `dependency_unavailable`. */
  current(): T | Promise<T> {
    if (this.#value !== undefined && performance.now() - this.#checkedAt < this.#checkEveryMs)
      return this.#value;
    this.#checking ??= this.#check()
      .catch((cause: unknown) => {
        throw new MayflyError('dependency_unavailable', 'A key file cannot be read.', { cause });
      })
      .finally(() => (this.#checking = undefined));
    return this.#checking;
  }

  /** The mode is checked on the opened file, so that it is the file that is read. */
  async #check(): Promise<T> {
    const startedAt = performance.now();
    const handle = await open(this.path, 'r').catch((cause: unknown) => {
      throw new KeyFileError(`The key file ${this.path} cannot be opened (${codeOf(cause)}).`);
    });
    try {
      const stat = await handle.stat({ bigint: true });
      const version = `${stat.ino}:${stat.size}:${stat.mtimeNs}`;
      if (this.#value === undefined || version !== this.#version) {
        this.#value = undefined;
        if (!stat.isFile()) throw new KeyFileError(`The key file ${this.path} is not a file.`);
        if (stat.size > maxFileBytes) throw new KeyFileError(`The key file ${this.path} is too large.`);
        if (this.rules.private && (stat.mode & 0o077n) !== 0n) {
          throw new KeyFileError(
            `The key file ${this.path} can be read by others than its owner: run chmod 600 on it.`,
          );
        }
        this.#value = await this.rules.parse(this.path, await handle.readFile('utf8'));
        this.#version = version;
      }
      this.#checkedAt = startedAt;
      return this.#value;
    } finally {
      await handle.close();
    }
  }
}

function codeOf(cause: unknown): string {
  return typeof cause === 'object' && cause !== null && 'code' in cause
    ? String(cause.code)
    : 'unknown error';
}
