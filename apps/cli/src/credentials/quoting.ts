/** Writing any value so that a shell, or a reader of `.env` files, gets back just that value. */
import { failureOf } from '../failure.ts';

/** Single quotes for POSIX shells (XCU §2.2.2): nothing inside is special, and a quote itself leaves them. */
export function shellQuote(value: string): string {
  // No shell variable can hold a NUL.
  if (value.includes('\0')) throw unwritable('a shell');
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/** `export NAME='value'` lines, for `eval "$(mayfly get …)"`. */
export function shellExports(variables: Readonly<Record<string, string>>): string {
  return lines(variables, (name, value) => `export ${name}=${shellQuote(value)}`);
}

/**
 * A value for `.env` files. Their dialects differ in what they unescape, so nothing is ever escaped: the first kind of
 * quote that does not occur in the value goes around it, and a value that would need an escape is refused.
 */
export function dotenvQuote(value: string): string {
  if (/^[\w.:/@+-]+$/.test(value)) return value;
  if (/[\0\r\n]/.test(value)) throw unwritable('a .env file');
  if (!value.includes("'")) return `'${value}'`;
  // Between double quotes some readers expand `$` and `\`.
  if (!/["$\\`]/.test(value)) return `"${value}"`;
  throw unwritable('a .env file');
}

export function dotenvLines(variables: Readonly<Record<string, string>>): string {
  return lines(variables, (name, value) => `${name}=${dotenvQuote(value)}`);
}

function lines(
  variables: Readonly<Record<string, string>>,
  line: (name: string, value: string) => string,
): string {
  return Object.entries(variables)
    .map(([name, value]) => `${line(name, value)}\n`)
    .join('');
}

function unwritable(where: string) {
  return failureOf('internal', `A part of the credential can not be written for ${where}.`, {
    next: 'Use --format json.',
  });
}
