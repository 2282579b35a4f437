/** Names and literals in statements that take no parameters (DDL). */
import pg from 'pg';

/** Longest name that Postgres keeps (NAMEDATALEN - 1, in bytes); it cuts longer ones silently. */
const longestName = 63;

/**
 * A quoted identifier. @throws Error when Postgres would not keep the name as it is (empty, too long, NUL), because
 * two names cut to the same one would share what is granted.
 */
export function quoteName(name: string): string {
  if (name === '' || name.includes('\0') || Buffer.byteLength(name) > longestName) {
    throw new Error(`not a name for Postgres: ${JSON.stringify(name.slice(0, 80))}`);
  }
  return pg.escapeIdentifier(name);
}

/** A quoted string literal. @throws Error on NUL, which no Postgres string holds. */
export function quoteText(text: string): string {
  if (text.includes('\0')) throw new Error('Postgres has no NUL in strings');
  return pg.escapeLiteral(text);
}
