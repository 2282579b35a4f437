/**
 * One look at the group role of a scope: makes it if it is not there, grants what it lacks, and looks again, in one transaction.
 * Nothing is waited for: what an other transaction holds ends the attempt after milliseconds, to be tried again.
 *
 * A new group is complete or is not there. A group that exists is completed as far as that goes: its leases work on, and a table that
 * is new and locked is granted by a later look.
 */
import type { PostgresScope } from '@mayfly/domain';
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { ProviderRejected, type ProviderFailure } from '../provider-error.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { grantableByCreators, type CreatorRoles } from './creator-roles.ts';
import { requiredKinds, selectLacking, type LackingObject } from './group-privileges.ts';
import { adminLockWaitMs, heldUp } from './optimistic.ts';
import { namesFor } from './role-names.ts';
import { doBlock, textArray } from './sql-text.ts';
import { databaseErrorOf, sqlStateOf } from './upstream-error.ts';

/** Some of the objects that a group may not use, for whoever reads the log, and how many there are. */
export interface LeftOut {
  readonly count: number;
  readonly examples: readonly string[];
}

export interface GroupLook {
  /** The role's name; not the first of its names where that is nobody's to grant. */
  readonly group: string;
  /** Tables and sequences of whole schemas that the privileged role may not pass on. */
  readonly notGrantable: LeftOut;
  /** Tables and sequences of whole schemas that something has locked. */
  readonly locked: LeftOut;
}

export interface GroupWanted {
  /** The first name that it may have. */
  readonly name: string;
  readonly scope: PostgresScope;
  readonly creators: CreatorRoles | undefined;
  /** Whether a new group may do without the tables of whole schemas that are locked. */
  readonly lenient: boolean;
  /** How long an object is waited for that another transaction holds, in milliseconds. */
  readonly lockWaitMs: number;
  /** Stands at the front of the text, so that the statement can be found while it waits. */
  readonly mark: string;
}

/** SQLSTATE of a group that can't have what its scope names; the detail is a `Refusal`. No class of PostgreSQL's. */
const refused = 'MF003';

type Refusal =
  | { readonly why: 'names' | 'schemas' | 'tables' }
  | { readonly why: 'grant_option'; readonly objects: readonly LackingObject[]; readonly role: string };

/**
 * Throws ProviderRejected when the scope names what does not exist or what the privileged role may not pass on, and whatever the
 * database answers. When it throws, nothing has been made or granted.
 */
export async function lookAtGroup(
  database: AdminDatabase,
  wanted: GroupWanted,
  facts: ServerFacts,
  deadline: Deadline,
): Promise<GroupLook> {
  if (wanted.scope.schemas.some((schema) => schema.startsWith('pg_'))) {
    // As a superuser's grant, `pg_catalog` would hold every role's verifier.
    throw new ProviderRejected("PostgreSQL's own schemas cannot be in a scope");
  }
  const text = `${wanted.mark} ${doBlock(body(wanted, facts))};
    SELECT pg_catalog.current_setting('mayfly.group') AS looked`;
  try {
    const rows = await database.run(text, deadline);
    return JSON.parse(String(rows.at(-1)?.[0]?.['looked'])) as GroupLook;
  } catch (error) {
    const { cause } = error as ProviderFailure;
    if (sqlStateOf(cause) !== refused) throw error;
    throw rejectionFor(JSON.parse(databaseErrorOf(cause)?.detail ?? '{}') as Refusal, wanted.scope);
  }
}

/** What a failed look was held up by, in the order of the grants; undefined when it failed otherwise. */
export function heldUpBy(error: unknown): readonly LackingObject[] | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  if (sqlStateOf(cause) !== heldUp) return undefined;
  return JSON.parse(databaseErrorOf(cause)?.detail ?? '[]') as LackingObject[];
}

/** What a single GRANT may fail with while another changes or locks its object, as conditions of PL/pgSQL: a later look tells. */
const contention =
  'lock_not_available OR deadlock_detected OR internal_error OR undefined_table OR undefined_object OR insufficient_privilege';

/** Objects that an error or an answer names at most. */
const mostNamed = 10;

function body({ name, scope, creators, lenient, lockWaitMs }: GroupWanted, facts: ServerFacts): string {
  const { superuser, version } = facts;
  // From PostgreSQL 16 on, who made a role has its ADMIN OPTION, and CREATEROLE alone grants nothing.
  const isOurs =
    superuser || version < 160_000
      ? 'true'
      : "pg_catalog.pg_has_role(candidate::name, 'USAGE WITH ADMIN OPTION')";
  const kinds = textArray(requiredKinds(scope));
  const some = (list: string) =>
    `(SELECT coalesce(pg_catalog.jsonb_agg(o), '[]') FROM (SELECT o FROM pg_catalog.jsonb_array_elements(${list}) AS o LIMIT ${mostNamed}) AS few)`;
  const those = (condition: string) =>
    `(SELECT coalesce(pg_catalog.jsonb_agg(o), '[]') FROM pg_catalog.jsonb_array_elements(lacking_objects) AS o WHERE ${condition})`;
  const isMissing = "o->>'missing' IS NOT NULL";
  const isRequired = `o->>'kind' = ANY (${kinds})`;
  const grant = `EXECUTE pg_catalog.format('GRANT %s ON %s TO %I', (
      SELECT pg_catalog.string_agg(p, ', ') FROM pg_catalog.jsonb_array_elements_text(item->'missing') AS p
    ), item->>'object', group_name);`;
  const refuse = (refusal: string) =>
    `RAISE EXCEPTION 'the scope cannot be granted' USING ERRCODE = '${refused}', DETAIL = (${refusal})::text;`;
  const giveUp = (objects: string) =>
    `RAISE EXCEPTION 'another transaction holds what is to be granted' USING ERRCODE = '${heldUp}', DETAIL = (${some(objects)})::text;`;
  const leftOut = (condition: string) => `(
      SELECT pg_catalog.jsonb_build_object('count', pg_catalog.count(*), 'examples',
               coalesce(pg_catalog.jsonb_agg(o->>'object') FILTER (WHERE place <= ${mostNamed}), '[]'))
        FROM pg_catalog.jsonb_array_elements(${those(condition)}) WITH ORDINALITY AS list (o, place))`;
  return `DECLARE
    candidate text;
    group_name text;
    group_oid oid;
    is_new bool := false;
    is_last bool := false;
    looks int := 0;
    waits int := 0;
    item jsonb;
    lacking_objects jsonb;
    schemas_found bigint;
    tables_found bigint;
    tables_usable bigint;
  BEGIN
    -- Only who may make roles can hold a role's name.
    SET LOCAL lock_timeout = ${adminLockWaitMs};
    FOREACH candidate IN ARRAY ${textArray(namesFor(name))} LOOP
      IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = candidate) THEN
        EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', candidate);
        is_new := true;
        group_name := candidate;
      ELSIF ${isOurs} THEN
        group_name := candidate;
      END IF;
      EXIT WHEN group_name IS NOT NULL;
    END LOOP;
    IF group_name IS NULL THEN
      ${refuse(`pg_catalog.jsonb_build_object('why', 'names')`)}
    END IF;
    SELECT oid INTO group_oid FROM pg_catalog.pg_roles WHERE rolname = group_name;
    ${creators === undefined ? '' : grantableByCreators('group_name', creators)}
    SET LOCAL lock_timeout = ${lockWaitMs};
    LOOP
      ${selectLacking('group_oid', scope)} INTO lacking_objects, schemas_found, tables_found, tables_usable;
      looks := looks + 1;
      IF schemas_found < ${scope.schemas.length} THEN
        ${refuse(`pg_catalog.jsonb_build_object('why', 'schemas')`)}
      ELSIF tables_found < ${scope.tables?.length ?? 0} THEN
        ${refuse(`pg_catalog.jsonb_build_object('why', 'tables')`)}
      ELSIF ${those(`${isRequired} AND o->>'lacking' IS NOT NULL`)} <> '[]' THEN
        ${refuse(
          `pg_catalog.jsonb_build_object('why', 'grant_option', 'role', current_user, 'objects', ${some(
            those(`${isRequired} AND o->>'lacking' IS NOT NULL`),
          )})`,
        )}
      END IF;
      EXIT WHEN is_last OR ${those(isMissing)} = '[]';
      BEGIN
        FOR item IN SELECT o FROM pg_catalog.jsonb_array_elements(lacking_objects) AS o WHERE ${isMissing} LOOP
          ${grant}
        END LOOP;
        -- A GRANT goes by the grant options of one role: what two roles of ours may pass on takes two of them.
        is_last := looks >= 4;
      EXCEPTION WHEN ${contention} THEN
        IF is_new AND NOT ${lenient} THEN
          ${giveUp('pg_catalog.jsonb_build_array(item)')}
        END IF;
        is_last := true;
        FOR item IN SELECT o FROM pg_catalog.jsonb_array_elements(lacking_objects) AS o WHERE ${isMissing} LOOP
          BEGIN
            ${grant}
          EXCEPTION WHEN ${contention} THEN
            waits := waits + 1;
            -- Who has locked one table may have locked a thousand.
            IF waits = 3 THEN SET LOCAL lock_timeout = 1; END IF;
          END;
        END LOOP;
      END;
    END LOOP;
    IF ${those(`${isMissing} AND (${isRequired} OR is_new AND NOT ${lenient})`)} <> '[]' THEN
      ${giveUp(those(`${isMissing} AND (${isRequired} OR is_new AND NOT ${lenient})`))}
    ELSIF tables_found > 0 AND tables_usable = 0 AND ${those(isMissing)} = '[]' THEN
      ${refuse(
        `pg_catalog.jsonb_build_object('why', 'grant_option', 'role', current_user, 'objects', ${some(
          those(`o->>'kind' = 'table'`),
        )})`,
      )}
    END IF;
    PERFORM pg_catalog.set_config('mayfly.group', pg_catalog.jsonb_build_object(
      'group', group_name,
      'notGrantable', ${leftOut(`o->>'lacking' IS NOT NULL`)},
      'locked', ${leftOut(isMissing)})::text, true);
  END`;
}

/** The asker learns what of its own scope it is; the statement that would help is for the log, since it names the privileged role. */
function rejectionFor(refusal: Refusal, scope: PostgresScope): ProviderRejected {
  switch (refusal.why) {
    case 'names':
      return new ProviderRejected(
        'the group roles of this scope exist already and the privileged credential may not grant them',
      );
    case 'schemas':
      return new ProviderRejected('a schema of the scope does not exist');
    case 'tables':
      return new ProviderRejected('a table of the scope does not exist');
    case 'grant_option': {
      const { objects, role } = refusal;
      const [first] = objects;
      const what =
        first === undefined || (first.kind === 'table' && scope.tables === undefined)
          ? `${scope.privileges.join(', ')} on any table of the scope`
          : describeObject(first);
      const statements = objects.map(
        ({ object, lacking }) =>
          `GRANT ${(lacking ?? []).join(', ')} ON ${object} TO ${pg.escapeIdentifier(role)} WITH GRANT OPTION`,
      );
      return new ProviderRejected(
        `the integration's privileged credential may not pass on ${what}: its owner has to grant it WITH GRANT OPTION`,
        { cause: new Error(`missing grants, each by the object's owner: ${statements.join('; ')}`) },
      );
    }
  }
}

/** `SELECT on table shop.orders`; the database goes unnamed, because no scope names it. */
export function describeObject({ kind, object, lacking, missing }: LackingObject): string {
  const name = object.slice(object.indexOf(' ') + 1);
  const what = kind === 'database' ? 'its database' : `${kind} ${name}`;
  return `${(lacking ?? missing ?? []).join(', ')} on ${what}`;
}
