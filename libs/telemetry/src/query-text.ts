/**
 * What a database span may show of a statement. Values belong into parameters, which are never recorded; but DDL
 * takes no parameters (`CREATE ROLE … PASSWORD '…'`), and templates are free text. So every literal is replaced, and a
 * statement that speaks of passwords is shown by its verb only.
 */

/** Longest statement text that a span carries, in characters. */
const longest = 2_000;

const aboutPasswords = /password|scram-sha-256|\bmd5[\da-f]{32}/i;

/**
 * One pass over the lexical elements that may contain a quote (PostgreSQL documentation §4.1), so that a quote inside
 * one kind never opens another: quoted identifiers are kept, comments dropped, and all three kinds of strings replaced.
 * An unterminated string extends to the end.
 */
const quoted =
  /("(?:[^"]|"")*"?)|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|\b[eE]'(?:[^'\\]|\\[\s\S]|'')*'?|'(?:[^']|'')*'?|\$([A-Za-z_]\w*)?\$[\s\S]*?(?:\$\2\$|$)/g;

/** The statement without its literals and comments, at most 2,000 characters; `<verb> [redacted]` if about passwords. */
export function redactQueryText(text: string): string {
  if (aboutPasswords.test(text)) return `${queryVerb(text)} [redacted]`;
  const bounded = text.slice(0, longest);
  return bounded.replace(quoted, (match, identifier: string | undefined) => {
    if (identifier !== undefined) return identifier;
    return match.startsWith('--') || match.startsWith('/*') ? '' : "'?'";
  });
}

/** First keyword in capitals (`SELECT`), for span names. */
export function queryVerb(text: string): string {
  return /^[\s(]*([A-Za-z]{1,32})\b/.exec(text)?.[1]?.toUpperCase() ?? 'QUERY';
}
