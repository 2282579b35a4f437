/**
 * Revocations: accepting one, gathering its leases batch by batch, and finding out when all have ended. What a batch needs to
 * know of the one before is in the row, so any replica can do the next.
 */
import type { MayflyEvent, RevocationSubject } from '@mayfly/contracts';
import { asDependencyError } from '@mayfly/postgres';
import type { Pool, PoolClient } from 'pg';

/** As organization: those of every organization. No organization can be named so. */
export const everyOrganization = '*';

export interface AcceptedRevocation {
  readonly revocationId: string;
  /** Whose leases end, or `everyOrganization`. */
  readonly organization: string;
  readonly subject: { readonly kind: RevocationSubject['kind']; readonly id: string };
  readonly reason: string;
  /** SPIFFE ID of the administrator, or `recoveryActor`. */
  readonly askedBy: string;
  readonly askedOrganization: string;
  /** Undefined for a recovery. */
  readonly askedSessionId: string | undefined;
  /** W3C traceparent of the request. */
  readonly askedTraceparent: string | undefined;
  /** The subject never comes back, such as a lease. */
  readonly forEver: boolean;
}

/**
 * Commits the fence and the row, with `event` (`revocation.requested`), in one round trip. No lease is touched here, so it
 * takes as long for a million as for none. Changes nothing when a revocation of that id is there. When it rejects, the outcome is unknown.
 */
export async function acceptRevocation(
  pool: Pool,
  revocation: AcceptedRevocation,
  event: MayflyEvent,
): Promise<void> {
  const columns = {
    revocation_id: revocation.revocationId,
    organization: revocation.organization,
    subject_kind: revocation.subject.kind,
    subject_id: revocation.subject.id,
    reason: revocation.reason,
    asked_by: revocation.askedBy,
    asked_organization: revocation.askedOrganization,
    asked_session_id: revocation.askedSessionId,
    asked_traceparent: revocation.askedTraceparent,
  };
  await pool
    .query({
      name: 'accept_revocation',
      text: 'SELECT revocation.accept_revocation($1::jsonb, $2, $3::jsonb)',
      values: [JSON.stringify(columns), revocation.forEver, JSON.stringify(event)],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
}

/** A revocation on which there is something to do, locked until the end of the transaction. */
export interface DueRevocation {
  readonly revocationId: string;
  readonly organization: string;
  readonly subject: { readonly kind: RevocationSubject['kind']; readonly id: string };
  readonly reason: string;
  /** SPIFFE ID of the administrator, or `recoveryActor`. */
  readonly askedBy: string;
  readonly askedOrganization: string;
  /** Undefined for a recovery. */
  readonly askedSessionId: string | undefined;
  readonly askedTraceparent: string | undefined;
  /** Whether all of its leases have been found. */
  readonly isGathered: boolean;
  /** How many were found so far. */
  readonly matched: number;
}

/** How long a step of a revocation may wait for the process that takes it. Milliseconds. */
const longestPauseMs = 1_000;

/**
 * For the transaction that takes a step: Postgres ends it soon when its process says nothing more, because it was paused. Its
 * leases are locked, and whoever ends or claims one of them waits. What it did is undone, and its connection is gone.
 */
export async function boundPauses(client: PoolClient): Promise<void> {
  await client.query({
    name: 'bound_pauses',
    text: "SELECT set_config('idle_in_transaction_session_timeout', $1, true)",
    values: [String(longestPauseMs)],
  });
}

/**
 * The revocation whose turn it is. One that another replica works on at this moment is passed over; one whose replica died
 * is free again with that replica's connection.
 */
export async function takeDueRevocation(client: PoolClient): Promise<DueRevocation | undefined> {
  const { rows } = await client.query<{
    revocation_id: string;
    organization: string;
    subject_kind: RevocationSubject['kind'];
    subject_id: string;
    reason: string;
    asked_by: string;
    asked_organization: string;
    asked_session_id: string | null;
    asked_traceparent: string | null;
    is_gathered: boolean;
    matched: number;
  }>({
    name: 'take_due_revocation',
    text: `
      SELECT r.revocation_id, r.organization, r.subject_kind, r.subject_id, r.reason, r.asked_by, r.asked_organization,
        r.asked_session_id, r.asked_traceparent, r.gathered_at IS NOT NULL AS is_gathered,
        r.immediate + r.eventual + r.expiry_only AS matched
      FROM revocation.revocations r
      WHERE r.due_at <= now() ORDER BY r.gathered_at IS NOT NULL, r.due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED`,
  });
  const row = rows[0];
  if (row === undefined) return undefined;
  return {
    revocationId: row.revocation_id,
    organization: row.organization,
    subject: { kind: row.subject_kind, id: row.subject_id },
    reason: row.reason,
    askedBy: row.asked_by,
    askedOrganization: row.asked_organization,
    askedSessionId: row.asked_session_id ?? undefined,
    askedTraceparent: row.asked_traceparent ?? undefined,
    isGathered: row.is_gathered,
    matched: row.matched,
  };
}

/**
 * Moves the next leases of a revocation, at most `most`, to their end, and notes where it stopped; it then goes to the back
 * of the queue. Answers with how many it moved, and whether these were the last.
 */
export async function gatherBatch(
  client: PoolClient,
  revocationId: string,
  most: number,
): Promise<{ moved: number; finished: boolean }> {
  const { rows } = await client.query<{ moved: number; finished: boolean }>({
    name: 'gather_batch',
    text: `
      WITH batch AS MATERIALIZED (
        SELECT b.* FROM revocation.revocations r, LATERAL revocation.move_leases(
          r.organization, r.subject_kind, r.subject_id, r.instant, r.reason, r.asked_traceparent, r.revocation_id, $2,
          r.cursor_organization, r.cursor_credential, r.cursor_lease_id) b
        WHERE r.revocation_id = $1)
      UPDATE revocation.revocations r SET
        cursor_organization = b.cursor_organization, cursor_credential = b.cursor_credential,
        cursor_lease_id = b.cursor_lease_id,
        immediate = r.immediate + b.immediate, eventual = r.eventual + b.eventual,
        expiry_only = r.expiry_only + b.expiry_only,
        gathered_at = CASE WHEN b.finished THEN clock_timestamp() END,
        due_at = clock_timestamp()
      FROM batch b WHERE r.revocation_id = $1
      RETURNING b.immediate + b.eventual + b.expiry_only AS moved, b.finished`,
    values: [revocationId, most],
  });
  const row = rows[0];
  if (row === undefined) throw new Error('a revocation vanished while it was locked');
  return row;
}

/**
 * For a gathered one: looks for a lease of it that has not ended, among the next `most` of those that are not known to have.
 * `open`: there is one, and it is looked again later, the older the revocation the less often, once a minute at least. `more`:
 * not among these; it is looked further at once. `none`: all have ended.
 *
 * What has ended stays so, so each look begins where the one before stopped: all looks together pass every lease once.
 */
export async function lookForOpenLease(
  client: PoolClient,
  revocationId: string,
  most: number,
  shortestMs: number,
): Promise<'open' | 'more' | 'none'> {
  const { rows } = await client.query<{ is_open: boolean }>({
    name: 'look_for_open_lease',
    // OFFSET 0 keeps it a look into the register for each member in turn, up to the first: never a join of all.
    text: `
      WITH page AS MATERIALIZED (
        SELECT m.lease_id FROM revocation.revocation_leases m
        WHERE m.revocation_id = $1
          AND m.lease_id >= (SELECT r.open_from FROM revocation.revocations r WHERE r.revocation_id = $1)
        ORDER BY m.lease_id LIMIT $2),
      open AS MATERIALIZED (
        SELECT p.lease_id FROM page p
        WHERE EXISTS (SELECT FROM revocation.leases l WHERE l.lease_id = p.lease_id AND l.ended_at IS NULL OFFSET 0)
        LIMIT 1),
      place AS MATERIALIZED (
        SELECT coalesce((SELECT o.lease_id FROM open o), (SELECT p.lease_id FROM page p OFFSET $2 - 1)) AS lease_id,
          EXISTS (SELECT FROM open) AS is_open)
      UPDATE revocation.revocations r SET open_from = place.lease_id,
        due_at = CASE WHEN place.is_open THEN ${nextLook('$3')} ELSE clock_timestamp() END
      FROM place WHERE r.revocation_id = $1 AND place.lease_id IS NOT NULL
      RETURNING place.is_open`,
    values: [revocationId, most, shortestMs],
  });
  const row = rows[0];
  if (row === undefined) return 'none';
  return row.is_open ? 'open' : 'more';
}

/** Puts off what could not be done; to the back of the queue, and no longer than the wait between two looks. */
export async function lookAgain(pool: Pool, revocationId: string, shortestMs: number): Promise<void> {
  await pool.query({
    name: 'look_again',
    // Done all the same, when only the answer of the commit was lost.
    text: `
      UPDATE revocation.revocations SET due_at = ${nextLook('$2')}
      WHERE revocation_id = $1 AND done_at IS NULL`,
    values: [revocationId, shortestMs],
  });
}

/** SQL for when to look at a revocation again. @param shortestMs The parameter with the shortest wait in milliseconds. */
function nextLook(shortestMs: string): string {
  return `clock_timestamp() + least(interval '1 minute',
          greatest(${shortestMs}::double precision * interval '1 millisecond', (clock_timestamp() - asked_at) / 10))`;
}

/** All of its leases have ended. */
export async function completeRevocation(client: PoolClient, revocationId: string): Promise<void> {
  await client.query({
    name: 'complete_revocation',
    text: 'UPDATE revocation.revocations SET done_at = clock_timestamp(), due_at = NULL WHERE revocation_id = $1',
    values: [revocationId],
  });
}

/**
 * Forgets some of the revocation that was done the longest ago, if that is longer than they are kept: at most `most` of its
 * leases, and with the last of them the revocation. Answers whether there was anything to forget.
 */
export async function pruneRevocations(pool: Pool, keepSeconds: number, most: number): Promise<boolean> {
  const { rows } = await pool.query<{ found: boolean }>({
    name: 'prune_revocations',
    text: `
      WITH old AS MATERIALIZED (
        SELECT r.revocation_id FROM revocation.revocations r
        WHERE r.done_at < now() - make_interval(secs => $1)
        ORDER BY r.done_at LIMIT 1 FOR UPDATE SKIP LOCKED),
      theirs AS (
        DELETE FROM revocation.revocation_leases m
        WHERE m.revocation_id = (SELECT old.revocation_id FROM old) AND m.lease_id = ANY (ARRAY(
          SELECT next.lease_id FROM revocation.revocation_leases next
          WHERE next.revocation_id = (SELECT old.revocation_id FROM old) ORDER BY next.lease_id LIMIT $2))
        RETURNING m.lease_id),
      gone AS (
        DELETE FROM revocation.revocations r USING old
        WHERE r.revocation_id = old.revocation_id AND (SELECT count(*) FROM theirs) < $2)
      SELECT EXISTS (SELECT FROM old) AS found`,
    values: [keepSeconds, most],
  });
  return rows[0]?.found === true;
}

/** Where a batch of leases that end with their subject stopped. */
export interface MovePlace {
  readonly organization: string;
  readonly credential: string;
  readonly leaseId: string;
}

/**
 * A fence by itself: what was granted for the subject up to now does not become active. Durable when it resolves.
 * @param forEver the subject never comes back, such as a session that has ended: nor does what is granted later.
 */
export async function fenceSubject(
  pool: Pool,
  organization: string,
  subject: AcceptedRevocation['subject'],
  reason: string,
  forEver: boolean,
): Promise<void> {
  await pool
    .query({
      name: 'fence_subject',
      text: 'SELECT revocation.fence_subject($1, $2, $3, $4, $5)',
      values: [organization, subject.kind, subject.id, forEver, reason],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
}

/** Moves the next leases of an ended session, at most `most`, to their end; without `place` from the first on. */
export async function endSessionLeases(
  pool: Pool,
  session: {
    readonly organization: string;
    readonly sessionId: string;
    readonly reason: string;
    readonly causeTraceparent: string | undefined;
  },
  most: number,
  place: MovePlace = { organization: '', credential: '', leaseId: '00000000-0000-0000-0000-000000000000' },
): Promise<{ moved: number; finished: boolean; place: MovePlace }> {
  const { rows } = await pool
    .query<{
      moved: number;
      finished: boolean;
      cursor_organization: string;
      cursor_credential: string;
      cursor_lease_id: string;
    }>({
      name: 'end_session_leases',
      text: `
        SELECT b.immediate + b.eventual + b.expiry_only AS moved, b.finished, b.cursor_organization, b.cursor_credential,
          b.cursor_lease_id
        FROM revocation.move_leases($1, 'session', $2, 'infinity', $3, $4, NULL, $5, $6, $7, $8) b`,
      values: [
        session.organization,
        session.sessionId,
        session.reason,
        session.causeTraceparent,
        most,
        place.organization,
        place.credential,
        place.leaseId,
      ],
    })
    .catch((error: unknown) => {
      throw asDependencyError(error);
    });
  const row = rows[0];
  if (row === undefined) throw new Error('move_leases answered without a row');
  return {
    moved: row.moved,
    finished: row.finished,
    place: {
      organization: row.cursor_organization,
      credential: row.cursor_credential,
      leaseId: row.cursor_lease_id,
    },
  };
}
