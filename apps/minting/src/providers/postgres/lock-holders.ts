/**
 * Ends sessions of leases that hold up the making of a group. Any login may keep the catalog row of a schema, a database or a table
 * locked, by a GRANT that grants nothing (`GRANT USAGE ON SCHEMA shop TO PUBLIC`) in a transaction that stays open: nobody could then be
 * granted anything there for as long as the agent likes. No agent's work needs that.
 *
 * A table that a lease has locked as a whole (LOCK TABLE, TRUNCATE) is another matter: its privileges may let it do so.
 */
import type { PostgresScope } from '@mayfly/domain';
import pg from 'pg';
import type { Deadline } from '../deadline.ts';
import type { AdminDatabase, ServerFacts } from './admin-database.ts';
import { creatorOf } from './creator-roles.ts';
import { selectRelations } from './group-privileges.ts';
import { lockWaitMs } from './optimistic.ts';
import { leaseIdOf, loginRolePattern } from './role-names.ts';
import { doBlock } from './sql-text.ts';

/** How long is looked for what holds a statement up, in milliseconds. */
export const lookForHoldersMs = 250;

/** Between two looks, in milliseconds. */
const pauseMs = 10;

export interface EndedHolders {
  /** Whose sessions were ended. */
  readonly leaseIds: readonly string[];
  /** Whether the statement was seen waiting. If it was and nobody was ended, nobody is to be ended. */
  readonly hasSeen: boolean;
}

/**
 * Ends the sessions of leases that the statement with this mark, which is running on another connection, is waiting for, until it waits no longer
 * or a quarter of a second has passed. Prepared transactions are no sessions and are left alone.
 */
export async function endLockHolders(
  database: AdminDatabase,
  { mark, scope }: { readonly mark: string; readonly scope: PostgresScope },
  facts: ServerFacts,
  deadline: Deadline,
): Promise<EndedHolders> {
  const text = `${doBlock(body(mark, scope, facts))};
    SELECT pg_catalog.current_setting('mayfly.ended') AS ended, pg_catalog.current_setting('mayfly.seen')::bool AS seen`;
  const row = (await database.run(text, deadline)).at(-1)?.[0];
  const names = new Set(JSON.parse(String(row?.['ended'])) as string[]);
  return { leaseIds: [...names].map(leaseIdOf), hasSeen: row?.['seen'] === true };
}

function body(mark: string, scope: PostgresScope, facts: ServerFacts): string {
  const waiting = `w.usename = session_user AND w.state = 'active' AND pg_catalog.starts_with(w.query, ${pg.escapeLiteral(mark)})`;
  const isLockedAsAWhole = `EXISTS (SELECT FROM pg_catalog.pg_locks t
      WHERE t.pid = chain.pid AND t.locktype = 'relation' AND t.granted AND t.mode = 'AccessExclusiveLock'
        AND t.relation = ANY (tables)
        AND t.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))`;
  return `DECLARE
    holder record;
    ended jsonb := '[]';
    seen bool := false;
    tables oid[];
  BEGIN
    SET LOCAL lock_timeout = ${lockWaitMs};
    -- All of them: which one the statement waits for next is not known from what it waited for before.
    tables := ARRAY(SELECT r.oid FROM (${selectRelations(scope)}) AS r);
    FOR look IN 1..${lookForHoldersMs / pauseMs} LOOP
      FOR holder IN
        WITH RECURSIVE chain (pid) AS (
          SELECT b FROM pg_catalog.pg_stat_activity w, pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) AS b
           WHERE ${waiting}
          UNION
          SELECT b FROM chain, pg_catalog.unnest(pg_catalog.pg_blocking_pids(chain.pid)) AS b
        )
        SELECT l.pid, l.usename FROM chain JOIN pg_catalog.pg_stat_activity l ON l.pid = chain.pid
         WHERE l.usename ~ '${loginRolePattern}' AND pg_catalog.pg_blocking_pids(chain.pid) = '{}' AND NOT ${isLockedAsAWhole}
      LOOP
        ${asMember(
          'holder.usename',
          facts,
          `IF pg_catalog.pg_terminate_backend(holder.pid) THEN
             ended := ended || pg_catalog.to_jsonb(holder.usename::text);
           END IF;`,
        )}
      END LOOP;
      seen := seen OR EXISTS (
        SELECT FROM pg_catalog.pg_stat_activity w WHERE ${waiting} AND pg_catalog.pg_blocking_pids(w.pid) <> '{}');
      -- Where many want the same row, the next of them has it now.
      EXIT WHEN (ended <> '[]' OR look > 5) AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity w WHERE ${waiting});
      PERFORM pg_catalog.pg_sleep(${pauseMs / 1000});
      PERFORM pg_catalog.pg_stat_clear_snapshot();
    END LOOP;
    PERFORM pg_catalog.set_config('mayfly.ended', ended::text, true), pg_catalog.set_config('mayfly.seen', seen::text, true);
  END`;
}

/** Leaves a block. No class of PostgreSQL's. */
const done = 'MF005';

/**
 * Does something with the rights of a member of the role, as PL/pgSQL, and goes on where it may not; `role` is an expression for its name.
 * The membership goes with the block.
 */
export function asMember(role: string, facts: ServerFacts, statements: string): string {
  if (facts.superuser) return statements;
  return `BEGIN
      ${becomeMember(role, facts)}
      ${statements}
      RAISE EXCEPTION USING ERRCODE = '${done}';
    EXCEPTION WHEN OTHERS THEN NULL;
    END;`;
}

/** Who ends another's session is a member of its role, or superuser. As PL/pgSQL; `role` is an expression for its name. */
function becomeMember(role: string, { superuser, version }: ServerFacts): string {
  if (superuser) return '';
  if (version < 160_000) return `EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER', ${role});`;
  return `PERFORM pg_catalog.set_config('role', coalesce(${creatorOf(role)}, pg_catalog.current_setting('role')), true);
    EXECUTE pg_catalog.format('GRANT %I TO CURRENT_USER WITH INHERIT TRUE', ${role});`;
}
