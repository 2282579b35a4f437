/** How roles are named, so that they are found again by what they belong to. All names are shorter than 63 bytes. */
import { createHash } from 'node:crypto';
import type { PostgresScope } from '@mayfly/domain';

/** Where the roles of an integration belong. The same server may serve several organizations and databases. */
export interface Place {
  readonly organization: string;
  readonly integration: string;
  readonly database: string;
}

/** `mayfly_` and the lease's UUID without dashes: found again by the lease id alone (I6). */
export function loginRoleName(leaseId: string): string {
  return `mayfly_${leaseId.replaceAll('-', '').toLowerCase()}`;
}

/** The lease id in a login role's name. */
export function leaseIdOf(roleName: string): string {
  return roleName.replace(/^mayfly_(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** What a login role's name looks like, as a PostgreSQL regular expression. */
export const loginRolePattern = '^mayfly_[0-9a-f]{32}$';

/**
 * The group role that holds a scope's privileges: `mayfly_scope_<24 hex>` for a credential's full bounds, which stays;
 * `mayfly_narrow_<12 hex of the place>_<24 hex>` for a narrower scope, which goes when its last member has gone. The hash
 * is over the organization and the database too: privileges are per database and a shared role would carry those of
 * one organization to another (I5).
 */
export function groupRoleName(place: Place, scope: PostgresScope, bounds: PostgresScope): string {
  const key = hash([place.organization, place.integration, place.database, canonical(scope)]).slice(0, 24);
  const isFull = JSON.stringify(canonical(scope)) === JSON.stringify(canonical(bounds));
  return isFull ? `mayfly_scope_${key}` : `${narrowGroupPrefix(place)}${key}`;
}

/** What the names of a place's narrowed groups begin with. */
export function narrowGroupPrefix({ organization, integration, database }: Place): string {
  return `mayfly_narrow_${hash([organization, integration, database]).slice(0, 12)}_`;
}

/**
 * Key of the advisory lock under which privileges are granted and revoked: two at once on one table would make PostgreSQL
 * fail one of them ("tuple concurrently updated"). Taken before the lock of a group.
 */
export const privilegesLockKey = lockKey('mayfly privileges');

/**
 * Key of the advisory lock that keeps a group from being dropped while a role joins it, as SQL. PostgreSQL's
 * advisory locks are per database, which is right: a group belongs to one.
 */
export function groupLockKey(group: string): string {
  return lockKey(`mayfly group ${group}`);
}

/** In a cast, because PostgreSQL reads the smallest bigint as a negated number that is too large. */
function lockKey(of: string): string {
  return `'${createHash('sha256').update(of).digest().readBigInt64BE()}'::bigint`;
}

/** The order in which a scope is written means nothing. */
function canonical({ privileges, schemas, tables }: PostgresScope) {
  return [[...privileges].sort(), [...schemas].sort(), tables === undefined ? null : [...tables].sort()];
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
