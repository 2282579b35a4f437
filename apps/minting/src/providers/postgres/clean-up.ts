/**
 * Removes what a lease left behind after its access has ended: what its role owns in any database, what others granted to it, the
 * role itself. What a lease made can be large, locked by others or depended upon, so this may be slow and may fail. It is told and
 * tried again, and nothing waits for it.
 */
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import { ProviderRejected } from '../provider-error.ts';
import type { AdminDatabase, Rows, ServerFacts } from './admin-database.ts';
import { actAsCreatorOf, grantMembership } from './creator-roles.ts';
import type { EndedRole } from './end-access.ts';
import { rollBackPrepared } from './prepared-transactions.ts';
import { withCustomersPath } from './session-setup.ts';
import { dependentObjects, sqlStateOf } from './upstream-error.ts';
import { loginRolePattern } from './role-names.ts';

/** Where nothing is in the way, the clean-up goes along with the end; it may take that no longer than so. Milliseconds. */
const shortLockTimeoutMs = 50;
const shortStatementTimeoutMs = 1_000;

/** Longest wait of a clean-up by itself for one lock, in milliseconds. */
const lockTimeoutMs = 500;

/** How many objects one transaction removes: each takes a lock, of which a server has 6,400 by default. */
const batch = 500;

/** Removes everything in the current database and the role, as statements that follow those that ended its access. */
export function shortCleanUp(
  role: EndedRole,
  revocationStatements: readonly string[],
  facts: ServerFacts,
): string[] {
  const quoted = pg.escapeIdentifier(role.name);
  const asCreator = actAsCreatorOf(role.name, facts, 'session');
  const asOneself = asCreator.length > 0 ? ['RESET ROLE'] : [];
  const custom =
    revocationStatements.length === 0
      ? []
      : [
          ...(asCreator.length > 0 ? grantMembership('SESSION_USER', quoted, facts) : []),
          ...asOneself,
          ...withCustomersPath(revocationStatements),
          ...asCreator,
        ];
  return [
    'BEGIN',
    `SET LOCAL lock_timeout = ${shortLockTimeoutMs}`,
    `SET LOCAL statement_timeout = ${shortStatementTimeoutMs}`,
    ...custom,
    ...refuseLeftOfGroup(role, facts),
    `DROP OWNED BY ${quoted}`,
    `DROP ROLE ${quoted}`,
    'COMMIT',
    ...asOneself,
  ];
}

/**
 * Up to PostgreSQL 15 a lease may act as its group and make things as such, which would reach the next lease; later it may still set
 * default privileges for it.
 */
function refuseLeftOfGroup({ group }: EndedRole, { version }: ServerFacts): string[] {
  if (group === undefined) return [];
  return [
    `DO $mayfly$ BEGIN
       IF EXISTS (${version < 160_000 ? ownedByGroup(group) : defaultsOfGroup(group)}) THEN
         RAISE EXCEPTION 'the group owns something' USING ERRCODE = 'dependent_objects_still_exist';
       END IF;
     END $mayfly$`,
  ];
}

/** The same without a join, because this is part of every end. */
function ownedByGroup(group: string): string {
  return `SELECT FROM pg_catalog.pg_shdepend s
           WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'
             AND s.refobjid = pg_catalog.to_regrole(${pg.escapeLiteral(pg.escapeIdentifier(group))})`;
}

function defaultsOfGroup(group: string): string {
  return `SELECT FROM pg_catalog.pg_default_acl d
           WHERE d.defaclrole = pg_catalog.to_regrole(${pg.escapeLiteral(pg.escapeIdentifier(group))})`;
}

function ownedBy(role: string): string {
  return `SELECT 1 FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
           WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o' AND r.rolname = ${role}`;
}

/**
 * The whole clean-up, in as many steps as it takes. Safe to repeat. Throws ProviderRejected or ProviderUnavailable when something is
 * left; `undefined_object` as the cause when the role is gone.
 */
export async function cleanUpStepByStep(
  database: AdminDatabase,
  role: EndedRole,
  revocationStatements: readonly string[],
  openOther: (database: string) => AdminDatabase,
  deadline: Deadline,
): Promise<void> {
  const facts = await database.facts(deadline);
  const run: Run = (there, statements, isCustom = false) =>
    there.run(inTransaction(statements), deadline, { ownTransactions: true, isCustom });
  const parts = { facts, run, openOther, deadline };
  await run(database, becomeMember(role.name, facts));
  if (revocationStatements.length > 0) await run(database, withCustomersPath(revocationStatements), true);
  const quoted = pg.escapeIdentifier(role.name);
  for (const name of await databasesWith(database, role, facts, deadline)) {
    const there = name === database.database ? database : openOther(name);
    await takeOverFromGroup(there, role, parts);
    await removeInBatches(there, role.name, run);
    await becomeMemberOfOwners(there, role.name, parts);
    await dropOwned(there, role.name, parts);
  }
  await cutWhoeverLocks(database, role.name, parts);
  await run(database, [...actAsCreatorOf(role.name, facts, 'transaction'), `DROP ROLE ${quoted}`]);
}

/**
 * Drops what the role owns here. Where things of other leases depend on it whose access has ended too, theirs go along: each would
 * wait for the other for ever. Things of a lease that lives are left to its end.
 */
async function dropOwned(there: AdminDatabase, name: string, parts: Parts): Promise<void> {
  const { run, facts, deadline } = parts;
  try {
    await run(there, [`DROP OWNED BY ${pg.escapeIdentifier(name)}`]);
  } catch (error) {
    if (sqlStateOf((error as Error).cause) !== dependentObjects) throw error;
    const [rows = []] = await there.run(ownersOfDependents, deadline, { values: [name] });
    const others = rows.map((row) => String(row['name']));
    if (others.length === 0) throw error;
    for (const other of others) await run(there, becomeMember(other, facts));
    await run(there, [
      `DROP OWNED BY ${[name, ...others].map((role) => pg.escapeIdentifier(role)).join(', ')}`,
    ]);
  }
}

/**
 * The ended leases that own what depends on things of the role `$1` here, directly or not. No others: the custom statements of those may not
 * have had their turn yet. Views, constraints and the like depend for the table that they are part of.
 */
const ownersOfDependents = `
  WITH RECURSIVE owned AS (
    SELECT s.classid, s.objid, r.rolname, r.rolcanlogin FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
     WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o' AND r.rolname ~ '${loginRolePattern}'
       AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  ), reached AS (
    SELECT o.classid, o.objid FROM owned o WHERE o.rolname = $1
    UNION
    SELECT CASE WHEN whole.oid IS NULL THEN d.classid ELSE 'pg_catalog.pg_class'::pg_catalog.regclass END, coalesce(whole.oid, d.objid)
      FROM reached JOIN pg_catalog.pg_depend d ON d.refclassid = reached.classid AND d.refobjid = reached.objid
      LEFT JOIN LATERAL (
        SELECT w.ev_class AS oid FROM pg_catalog.pg_rewrite w WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = d.objid
        UNION ALL
        SELECT c.conrelid FROM pg_catalog.pg_constraint c
         WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND c.oid = d.objid AND c.conrelid <> 0
        UNION ALL
        SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid
        UNION ALL
        SELECT p.polrelid FROM pg_catalog.pg_policy p WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass AND p.oid = d.objid
        UNION ALL
        SELECT a.adrelid FROM pg_catalog.pg_attrdef a WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND a.oid = d.objid
      ) whole ON true
  )
  SELECT DISTINCT o.rolname::text AS name FROM reached JOIN owned o ON o.classid = reached.classid AND o.objid = reached.objid
   WHERE NOT o.rolcanlogin AND o.rolname <> $1 LIMIT 100`;

/** Runs statements as one transaction and answers with the rows of each of them. */
type Run = (there: AdminDatabase, statements: readonly string[], isCustom?: boolean) => Promise<Rows[]>;

/** What the steps of one clean-up share. */
interface Parts {
  readonly facts: ServerFacts;
  readonly run: Run;
  readonly openOther: (database: string) => AdminDatabase;
  readonly deadline: Deadline;
}

function inTransaction(statements: readonly string[]): string {
  const settings = [`SET LOCAL lock_timeout = ${lockTimeoutMs}`, 'SET LOCAL synchronous_commit = off'];
  return ['BEGIN', ...settings, ...statements, 'COMMIT'].join('\n;\n');
}

/** Makes the privileged role itself a member of a lease's role, as the role that made that one. */
function becomeMember(name: string, facts: ServerFacts): string[] {
  if (facts.superuser) return [];
  const role = pg.escapeIdentifier(name);
  const asCreator = actAsCreatorOf(name, facts, 'transaction');
  return [
    ...asCreator,
    ...grantMembership('SESSION_USER', role, facts),
    ...(asCreator.length > 0 ? [`SELECT pg_catalog.set_config('role', 'none', true)`] : []),
  ];
}

/** The databases in which the role owns something or has privileges, the current one first. Every server knows (`pg_shdepend`). */
async function databasesWith(
  database: AdminDatabase,
  { name, group }: EndedRole,
  { version }: ServerFacts,
  deadline: Deadline,
): Promise<string[]> {
  const [rows = []] = await database.run(
    `SELECT DISTINCT d.datname::text AS name
       FROM pg_catalog.pg_shdepend s JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
       JOIN pg_catalog.pg_database d ON d.oid = s.dbid
      WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
        AND (r.rolname = $1 OR (r.rolname = $2 AND s.deptype = 'o')) AND d.datname <> pg_catalog.current_database()`,
    deadline,
    { values: [name, version < 160_000 ? (group ?? null) : null] },
  );
  return [database.database, ...rows.map((row) => String(row['name']))];
}

/** Gives what the group owns to the lease's role, so that it goes with that. What a group is granted stays. */
async function takeOverFromGroup(
  there: AdminDatabase,
  { name, group }: EndedRole,
  { facts, run, deadline }: Parts,
): Promise<void> {
  if (group === undefined || facts.version >= 160_000) return;
  const [quotedGroup, role] = [pg.escapeIdentifier(group), pg.escapeIdentifier(name)];
  const owned = await there.run(`${ownedBy(pg.escapeLiteral(group))} LIMIT 1`, deadline);
  if (owned.at(-1)?.length === 0) return;
  await run(there, [
    ...(facts.superuser ? [] : [`GRANT ${quotedGroup} TO CURRENT_USER`]),
    `REASSIGN OWNED BY ${quotedGroup} TO ${role}`,
    ...(facts.superuser ? [] : [`REVOKE ${quotedGroup} FROM CURRENT_USER`]),
  ]);
}

/**
 * Whether a group owns something in the end: default privileges, which can't be given to another. Such a group is replaced, so that
 * the next lease is a member of one that has nothing of this one's.
 */
export async function isGroupSpoilt(
  database: AdminDatabase,
  group: string | undefined,
  deadline: Deadline,
): Promise<boolean> {
  if (group === undefined) return false;
  const owned = await database.run(`${ownedBy(pg.escapeLiteral(group))} LIMIT 1`, deadline);
  return (owned.at(-1)?.length ?? 0) > 0;
}

/** Removes what there may be a great many of, some in each transaction, because each takes a lock. */
async function removeInBatches(there: AdminDatabase, name: string, run: Run): Promise<void> {
  const lease = `(SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = ${pg.escapeLiteral(name)})`;
  const ownedHere = `pg_catalog.pg_shdepend s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = ${lease} AND s.deptype = 'o'
      AND s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())`;
  for (const removeSome of [removeLargeObjects(lease), removeObjects(ownedHere)]) {
    for (;;) {
      const rows = await run(there, [removeSome]);
      const removed = Number(rows.flat().find((row) => 'removed' in row)?.['removed'] ?? 0);
      if (removed === 0) break;
    }
  }
}

function removeLargeObjects(lease: string): string {
  return `SELECT pg_catalog.count(pg_catalog.lo_unlink(o.oid)) AS removed FROM (
    SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m WHERE m.lomowner = ${lease} LIMIT ${batch}) o`;
}

/**
 * Drops some objects, each in a subtransaction, because others may depend on one. Only where there are more than one transaction
 * can take; `DROP OWNED` knows better in which order the rest goes.
 */
function removeObjects(ownedHere: string): string {
  return `DO $mayfly$ DECLARE object record; removed int := 0; BEGIN
      IF (SELECT pg_catalog.count(*) FROM ${ownedHere}) > ${batch} THEN
        FOR object IN SELECT i.type, i.identity
            FROM (SELECT s.classid, s.objid, s.objsubid FROM ${ownedHere} ORDER BY s.objid DESC LIMIT ${batch}) o,
              LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, o.objsubid) i
           WHERE i.identity IS NOT NULL AND i.type <> 'default acl' LOOP
          BEGIN
            EXECUTE 'DROP ' || CASE object.type WHEN 'composite type' THEN 'type' ELSE object.type END
              || ' IF EXISTS ' || object.identity;
            removed := removed + 1;
          EXCEPTION WHEN OTHERS THEN NULL;
          END;
        END LOOP;
      END IF;
      PERFORM pg_catalog.set_config('mayfly.removed', removed::text, true);
    END $mayfly$;
    SELECT pg_catalog.current_setting('mayfly.removed')::int AS removed`;
}

/**
 * What another lease granted to this one can only be taken back in the name of that one: the privileged role becomes a member of
 * it, which a superuser need not.
 */
async function becomeMemberOfOwners(
  there: AdminDatabase,
  name: string,
  { facts, run, deadline }: Parts,
): Promise<void> {
  if (facts.superuser) return;
  const [rows = []] = await there.run(
    `SELECT DISTINCT o.rolname::text AS name
       FROM pg_catalog.pg_shdepend granted
       JOIN pg_catalog.pg_roles l ON l.oid = granted.refobjid AND l.rolname = $1
       JOIN pg_catalog.pg_shdepend owned ON owned.dbid = granted.dbid AND owned.classid = granted.classid
         AND owned.objid = granted.objid AND owned.deptype = 'o' AND owned.refclassid = granted.refclassid
       JOIN pg_catalog.pg_roles o ON o.oid = owned.refobjid AND o.oid <> l.oid
      WHERE granted.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND granted.deptype = 'a'
        AND o.rolname ~ '${loginRolePattern}'
      LIMIT 100`,
    deadline,
    { values: [name] },
  );
  for (const row of rows) await run(there, becomeMember(String(row['name']), facts));
}

/**
 * A lease has no reason to lock the role of another, which granting it something does until the transaction ends, nor to change memberships:
 * its sessions are cut, and what it prepared is rolled back. Whoever else holds such a lock is waited for, at the next try.
 */
async function cutWhoeverLocks(
  database: AdminDatabase,
  name: string,
  { facts, run, openOther, deadline }: Parts,
): Promise<void> {
  const lock = `(l.locktype = 'object' AND l.classid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      AND l.objid = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = $1)
    OR l.locktype = 'relation' AND l.relation = 'pg_catalog.pg_auth_members'::pg_catalog.regclass
      AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))`;
  const [holders = []] = await database.run(
    `SELECT holder.rolname::text AS name, l.pid FROM pg_catalog.pg_locks l
       JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid JOIN pg_catalog.pg_roles holder ON holder.oid = a.usesysid
      WHERE ${lock} AND holder.rolname ~ '${loginRolePattern}'
     UNION ALL
     SELECT p.owner::text, NULL FROM pg_catalog.pg_locks l
       JOIN pg_catalog.pg_prepared_xacts p ON p.transaction::text = pg_catalog.split_part(l.virtualtransaction, '/', 2)
      WHERE ${lock} AND l.pid IS NULL AND p.owner::text ~ '${loginRolePattern}'
     LIMIT 100`,
    deadline,
    { values: [name] },
  );
  for (const row of holders) {
    const holder = String(row['name']);
    await run(database, becomeMember(holder, facts));
    if (row['pid'] !== null)
      await run(database, [`SELECT pg_catalog.pg_terminate_backend(${Number(row['pid'])})`]);
    else await rollBackPrepared(database, [holder], openOther, deadline);
  }
}

/** Tells a clean-up that failed for what a lease did from one at an upstream that fails: the one says nothing of the other. */
export function cleanUpFailed(cause: unknown): ProviderRejected {
  return new ProviderRejected('what the lease left behind could not be removed yet', { cause });
}
