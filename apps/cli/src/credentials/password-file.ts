/** A line of libpq's password file (PostgreSQL: "The Password File"). */
import type { PostgresSecret } from '@mayfly/domain';
import { failureOf } from '../failure.ts';

/** `host:port:database:user:password` without a line end. Throws for a value that a line can't hold. */
export function passwordFileLine(secret: PostgresSecret): string {
  const { host, port, database, username, password } = secret;
  return [host, String(port), database, username, password].map(escapeField).join(':');
}

/** `\` and `:` are escaped; so are a lone `*`, which would match everything, and a leading `#`, which would be a comment. */
export function escapeField(value: string): string {
  if (/[\n\r\0]/.test(value)) {
    throw failureOf('internal', 'A part of the credential can not be written into a password file.', {
      next: 'Use --format json.',
    });
  }
  const escaped = value.replace(/[\\:]/g, '\\$&');
  return escaped === '*' || escaped.startsWith('#') ? `\\${escaped}` : escaped;
}
