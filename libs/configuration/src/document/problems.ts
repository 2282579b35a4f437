/** What is wrong with a document, collected: each with the path, the line and a sentence that says what to do. */
import type { ConfigProblem } from '@mayfly/contracts';

export type Path = readonly (string | number)[];

/** 1-based. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** More than these would help nobody; `ConfigProblem`s travel over the bus. */
export const maxProblems = 100;
const maxMessageLength = 400;

/** Keys that may be shown. Anything else that stands where a key should stand may be a secret. */
const showableKey = /^[A-Za-z0-9_][A-Za-z0-9_.:/@-]{0,63}$/;

/** A key or name of the document for a sentence: quoted, or described where it may be a secret put in the wrong place. */
export function showKey(key: string): string {
  return showableKey.test(key) && !key.includes('://') ? `"${key}"` : 'this key';
}

/** `credentials[0].ttl.max` */
export function formatPath(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    const key = showableKey.test(part) && !part.includes('://') ? part : '?';
    return text === '' ? key : `${text}.${key}`;
  }, '');
}

export class Problems {
  readonly #problems: ConfigProblem[] = [];
  /** One problem per place: what follows from it at the same place is noise. */
  readonly #places = new Set<string>();
  readonly #locate: (path: Path) => Position | undefined;

  constructor(locate: (path: Path) => Position | undefined) {
    this.#locate = locate;
  }

  /** An empty collection for the same document. */
  beside(): Problems {
    return new Problems(this.#locate);
  }

  get full(): boolean {
    return this.#problems.length >= maxProblems;
  }

  get any(): boolean {
    return this.#problems.length > 0;
  }

  /** `position` where it is known better than by the path, as inside a policy. */
  add(path: Path, message: string, position?: Position): void {
    if (this.full) return;
    const where = { path: formatPath(path), ...(position ?? this.#locate(path)) };
    const place = JSON.stringify(where);
    if (this.#places.has(place)) return;
    this.#places.add(place);
    this.#problems.push({
      ...where,
      message: message.length > maxMessageLength ? `${message.slice(0, maxMessageLength - 1)}…` : message,
    });
  }

  /** In the order of the document. */
  list(): ConfigProblem[] {
    return this.#problems.toSorted(
      (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
    );
  }
}
