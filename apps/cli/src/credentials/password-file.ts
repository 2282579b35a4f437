/** Lines of libpq's password file (PostgreSQL: "The Password File"). */
import { isSocketFolder, type PostgresSecret } from '@mayfly/domain';
import { failureOf } from '../failure.ts';

/**
 * `host:port:database:user:password` for each host, with line ends. libpq looks for `localhost` where the folder of sockets is the one
 * that it was built with, which differs from system to system. Throws for a value that a line can't hold.
 */
export function passwordFileLines(secret: PostgresSecret): string {
  const { host, port, hosts = [{ host, port }], database, username, password } = secret;
  const lines = hosts
    .flatMap((at) => (isSocketFolder(at) ? [at, { ...at, host: 'localhost' }] : [at]))
    .map((at) => [at.host, String(at.port), database, username, password].map(escapeField).join(':'));
  return [...new Set(lines)].map((line) => `${line}\n`).join('');
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
