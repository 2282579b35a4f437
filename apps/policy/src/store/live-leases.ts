/** Leases that policy has granted and of which no end is known. */
import type { RevocationSubject } from '@mayfly/contracts';
import { rowsOf, type Database } from './statement.ts';

/** Whether leases of a credential or an integration may still work. Of any other subject: false. */
export async function hasLiveLeases(
  database: Database,
  organization: string,
  subject: RevocationSubject,
): Promise<boolean> {
  if (subject.kind !== 'credential' && subject.kind !== 'integration') return false;
  const [row] = await rowsOf<{ any: boolean }>(database, {
    name: 'has-live-leases',
    text: `SELECT EXISTS (
             SELECT FROM policy.reservations r
             WHERE r.organization = $1 AND r.ended_at IS NULL
               AND CASE $2 WHEN 'credential' THEN r.credential ELSE split_part(r.credential, '/', 1) END = $3) AS any`,
    values: [organization, subject.kind, subject.id],
  });
  return row?.any === true;
}
