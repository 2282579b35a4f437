/**
 * A secret in memory. It prints as `[redacted]` wherever an object is turned into text by accident: logs, JSON,
 * template strings, the inspector, error messages. Only `reveal()` gives it out, which is easy to search for.
 */
const inspect = Symbol.for('nodejs.util.inspect.custom');
const redacted = '[redacted]';

export class Secret<T extends string | Uint8Array = string> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  /** The value itself. Call it where the secret is used, not before. */
  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [Symbol.toPrimitive](): string {
    return redacted;
  }

  [inspect](): string {
    return redacted;
  }
}
