/** Lets the login role of one lease log in for longer. The statements are built here; names and literals are quoted by the driver. */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase } from './admin-database.ts';
import { actAsCreatorOf } from './creator-roles.ts';
import { fromNow, inUtc } from './login-role.ts';
import { lockWaitMs, optimistically } from './optimistic.ts';

/**
 * Moves `VALID UNTIL` to later, never to earlier: one round trip, one transaction. Answers with the new instant; undefined when
 * the role is gone, or may no longer log in because its end has begun. Throws ProviderRejected when the server's clock is so far
 * ahead that the role would outlive `notAfter`.
 *
 * A role may lock its own row for as long as it likes, so each try waits for milliseconds only: otherwise a few leases that do so, and
 * renew, would have every connection. Such a lease fails to renew itself, and nothing else.
 */
export async function prolongLoginRole(
  database: AdminDatabase,
  { name, ttlSeconds, notAfter }: { name: string; ttlSeconds: number; notAfter: Date },
  deadline: Deadline,
): Promise<Date | undefined> {
  const alter = `ALTER ROLE ${pg.escapeIdentifier(name)} VALID UNTIL `;
  const latest = `${pg.escapeLiteral(notAfter.toISOString())}::timestamptz`;
  const role = `FROM pg_roles WHERE rolname = ${pg.escapeLiteral(name)} AND rolcanlogin`;
  const asCreator = actAsCreatorOf(name, await database.facts(deadline), 'transaction')
    .map((statement) => `${statement};\n`)
    .join('');
  const text = `SET LOCAL lock_timeout = ${lockWaitMs};
     ${asCreator}DO $mayfly$ DECLARE until timestamptz; BEGIN
       SELECT greatest(nullif(rolvaliduntil, 'infinity'), ${fromNow(ttlSeconds)}) INTO until ${role};
       IF until <= ${latest} THEN
         EXECUTE ${pg.escapeLiteral(alter)} || quote_literal(${inUtc('until')});
       END IF;
     END $mayfly$;
     SELECT ${inUtc('rolvaliduntil')} AS expires_at, ${fromNow(ttlSeconds)} > ${latest} AS too_late ${role}`;
  const results = await optimistically(() => database.run(text, deadline));
  const row = results.at(-1)?.[0];
  if (row === undefined) return undefined;
  if (row['too_late'] === true) throw new ProviderRejected('the clock of the database is too far ahead');
  return new Date(String(row['expires_at']));
}
