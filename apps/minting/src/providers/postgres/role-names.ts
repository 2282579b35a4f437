/** How roles are named, so that they are found again by what they belong to. No name is longer than 63 bytes. */
import { createHash, randomBytes } from 'node:crypto';
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

/** What the names of group roles look like, those that are about to go among them, as a PostgreSQL regular expression. */
export const groupRolePattern = '^mayfly_(scope|narrow|retired)_[0-9a-f]';

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

/** What the names of a place's retired groups begin with; the time follows, see `retiredGroupAge`. */
export function retiredGroupPrefix({ organization, integration, database }: Place): string {
  return `mayfly_retired_${hash([organization, integration, database]).slice(0, 12)}_`;
}

/**
 * What a group that is to go is renamed to, as an SQL expression of type text: the prefix, the server's time in seconds and a
 * number that makes it unique, 51 bytes.
 */
export function retiredGroupName(place: Place): string {
  const unique = randomBytes(6).toString('hex');
  return `'${retiredGroupPrefix(place)}' || pg_catalog.lpad((${epochSeconds})::text, 10, '0') || '_${unique}'`;
}

/** How long ago a group of this place was retired, in seconds, as an SQL expression over its name in `column`. */
export function retiredGroupAge(place: Place, column: string): string {
  return `(${epochSeconds} - pg_catalog.substr(${column}, ${retiredGroupPrefix(place).length + 1}, 10)::bigint)`;
}

/** Of the clock of the server that compares it. */
const epochSeconds = 'pg_catalog.floor(EXTRACT(epoch FROM pg_catalog.clock_timestamp()))::bigint';

/** Most names that one role may have: its own and those that stand in for it. */
const mostNames = 9;

/**
 * The name of a role and those that stand in for it, in the order in which they are tried: where a database came from another
 * server, the role of the first name may be there and be nobody's to grant.
 */
export function namesFor(name: string): readonly string[] {
  return Array.from({ length: mostNames }, (_, index) => (index === 0 ? name : `${name}_${index + 1}`));
}

/** The first of the names that a role may have. */
export function firstNameOf(name: string): string {
  return name.replace(/_[2-9]$/, '');
}

/** The order in which a scope is written means nothing. */
function canonical({ privileges, schemas, tables }: PostgresScope) {
  return [[...privileges].sort(), [...schemas].sort(), tables === undefined ? null : [...tables].sort()];
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex');
}
