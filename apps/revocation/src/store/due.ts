/**
 * Due work: claiming it, and what may become of it. Every statement is a compare-and-swap on the lease's state and on the
 * number of the claim, so that a replica that was paused, or lost its claim, changes nothing any more.
 */
import type { ErrorCode, MayflyEvent } from '@mayfly/contracts';
import type { Pool } from 'pg';
import { laneSql, leaseColumns, toLease, type Lease } from './lease.ts';
import { isFree, livingReplicas, longestClaim, type Claim } from './replicas.ts';

export interface ClaimOptions {
  /** Who claims. One that is not among the living gets nothing, because its claims would be void. */
  readonly replicaId: string;
  /** Most leases to claim. */
  readonly limit: number;
  /** Most ends of one upstream account. */
  readonly perIntegration: number;
  /** Most clean-ups after ends there. Default 1. */
  readonly cleanUpsPerIntegration?: number;
  /** Lanes (`laneOf`) that may get more or less than that, such as those that have work here already. */
  readonly room: ReadonlyMap<string, number>;
  /** Whether to look for upstreams that a long backlog of another hides. Dearer: not for every claim. */
  readonly isWide: boolean;
}

/** Most rows that a wide look reads: some milliseconds. */
const widestLook = 5_000;

/**
 * Claims due leases, the most overdue first, and moves those that are active to `revoking`. What another replica is
 * claiming at this moment is skipped; what was claimed by one that does not live any more is taken over.
 *
 * Looks at more than it takes, so that an upstream with much due work does not hide the others. That is not enough where it is
 * quick and has a long backlog: it always has some room, and all that is looked at is its own. No index leads from one upstream
 * to the next, so a wide look also reads what became due last, from now backwards and up to a bound, and picks what is of other
 * upstreams than the oldest. Backwards, because what is hidden came after the backlog: however long that is, it is found at
 * once. What lies in the middle of more rows than the bound waits until the backlog is shorter.
 */
export async function claimDueLeases(
  pool: Pool,
  { replicaId, limit, perIntegration, cleanUpsPerIntegration = 1, room, isWide }: ClaimOptions,
): Promise<Lease[]> {
  const { rows } = await pool.query({
    name: 'claim_due_leases',
    // Arrays in place of joins: the planner, which does not know the limit, can't take a scan of the whole table for a good idea.
    text: `
      WITH busy AS (SELECT * FROM unnest($3::text[], $4::integer[]) AS b (upstream, room)),
      oldest AS MATERIALIZED (
        SELECT l.lease_id, l.claimed_by, ${laneSql} AS upstream, l.access_ended_at IS NOT NULL AS is_cleanup, l.due_at
        FROM revocation.leases l
        WHERE $2::uuid = ANY (${livingReplicas}) AND l.due_at <= now() AND ${isFree('l')}
          AND ${laneSql} <> ALL (SELECT b.upstream FROM busy b WHERE b.room <= 0)
        ORDER BY l.due_at LIMIT $1 * 4),
      hidden AS (
        SELECT n.lease_id, n.claimed_by, n.upstream, n.is_cleanup, n.due_at FROM (
          SELECT l.lease_id, l.claimed_by, ${laneSql} AS upstream, l.access_ended_at IS NOT NULL AS is_cleanup, l.due_at
          FROM revocation.leases l
          WHERE $2::uuid = ANY (${livingReplicas}) AND l.due_at <= now() AND ${isFree('l')}
          ORDER BY l.due_at DESC LIMIT $6) n
        WHERE n.upstream <> ALL (ARRAY(SELECT DISTINCT o.upstream FROM oldest o))
          AND n.upstream <> ALL (SELECT b.upstream FROM busy b WHERE b.room <= 0)),
      allowed AS (
        SELECT r.lease_id, r.claimed_by, r.is_hidden FROM (
          SELECT s.lease_id, s.claimed_by, s.upstream, s.is_cleanup, s.is_hidden,
            row_number() OVER (PARTITION BY s.upstream ORDER BY s.due_at) AS place
          FROM (SELECT *, false AS is_hidden FROM oldest UNION ALL SELECT *, true FROM hidden) s) r
        LEFT JOIN busy b ON b.upstream = r.upstream
        WHERE r.place <= coalesce(b.room, CASE WHEN r.is_cleanup THEN $7::integer ELSE $5::integer END)),
      due AS MATERIALIZED (
        SELECT l.lease_id FROM revocation.leases l
        WHERE l.lease_id = ANY (ARRAY(SELECT a.lease_id FROM allowed a)) AND l.due_at <= now()
          -- It may have been claimed since, by a replica that has joined since and so is not known here: only those are dead that were
          -- when it was looked at.
          AND (l.claimed_until IS NULL OR l.claimed_until <= now() OR l.claimed_by = ANY (ARRAY(
            SELECT DISTINCT a.claimed_by FROM allowed a WHERE a.claimed_by <> ALL (${livingReplicas}))))
        -- First what was hidden: there is room for all of it only where the backlog leaves some.
        ORDER BY l.lease_id <> ALL (ARRAY(SELECT a.lease_id FROM allowed a WHERE a.is_hidden)), l.due_at LIMIT $1
        FOR NO KEY UPDATE SKIP LOCKED)
      UPDATE revocation.leases l SET
        state = CASE l.state WHEN 'active' THEN 'revoking' ELSE l.state END,
        end_cause = CASE l.state WHEN 'active' THEN 'expired' ELSE l.end_cause END,
        end_reason = CASE WHEN l.state = 'active' AND l.successor_id IS NOT NULL THEN 'rotated' ELSE l.end_reason END,
        attempts = l.attempts + 1,
        claims = l.claims + 1,
        claimed_by = $2,
        claimed_until = now() + ${longestClaim}
      WHERE l.lease_id = ANY (ARRAY(SELECT due.lease_id FROM due))
      RETURNING ${leaseColumns('l')}`,
    values: [
      limit,
      replicaId,
      [...room.keys()],
      [...room.values()],
      perIntegration,
      isWide ? widestLook : 0,
      cleanUpsPerIntegration,
    ],
  });
  return rows.map(toLease);
}

/**
 * Milliseconds until the next lease is due that nobody has claimed: 0 when one is, undefined when there is none.
 * @param without Lanes that get no more work here at present.
 */
export async function timeToNextDue(pool: Pool, without: readonly string[]): Promise<number | undefined> {
  const { rows } = await pool.query<{ wait: number }>({
    name: 'time_to_next_due',
    text: `
      SELECT greatest(0, extract(epoch FROM due_at - now()) * 1000)::double precision AS wait
      FROM revocation.leases l
      WHERE due_at IS NOT NULL AND ${isFree('l')}
        AND ${laneSql} <> ALL ($1::text[])
      ORDER BY due_at LIMIT 1`,
    values: [without],
  });
  return rows[0]?.wait;
}

export interface Ended extends Claim {
  readonly state: 'expired' | 'revoked';
  readonly event: MayflyEvent;
  /** Milliseconds until what is left upstream is cleaned up; undefined when nothing is. */
  readonly cleanUpInMs?: number;
}

/**
 * Ends leases and writes their events, all in one statement. What a lease left upstream is to be cleaned up from then on; after that,
 * what another redemption of the grant left is to be removed, as what a failed mint left. Answers with the ids of those that it ended: the others had
 * ended, or their claim was lost.
 */
export async function completeEnds(pool: Pool, ends: readonly Ended[]): Promise<Set<string>> {
  const { rows } = await pool.query<{ lease_id: string }>({
    name: 'complete_ends',
    text: `
      WITH told AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::integer[], $6::double precision[])
        AS t (lease_id, state, event_id, event, claims, wait_ms)),
      -- Locked in one order everywhere, so that two who end many leases never deadlock.
      held AS MATERIALIZED (
        SELECT l.lease_id, t.state, t.event_id, t.event, t.wait_ms FROM told t JOIN revocation.leases l ON l.lease_id = t.lease_id
        WHERE l.state IN ('revoking', 'revocation_failed') AND l.claims = t.claims
        ORDER BY l.lease_id FOR NO KEY UPDATE OF l),
      done AS (
        UPDATE revocation.leases l SET
          state = held.state, ended_at = now(), claimed_until = NULL,
          access_ended_at = CASE WHEN held.wait_ms IS NOT NULL THEN now() END,
          handle = CASE WHEN held.wait_ms IS NOT NULL THEN l.handle ELSE l.other_handle END,
          other_handle = CASE WHEN held.wait_ms IS NOT NULL THEN l.other_handle END,
          cleanup = CASE WHEN held.wait_ms IS NOT NULL OR l.other_handle IS NOT NULL THEN 'pending' ELSE l.cleanup END,
          attempts = CASE WHEN held.wait_ms IS NOT NULL THEN 0 ELSE l.attempts END,
          last_error = CASE WHEN held.wait_ms IS NULL THEN l.last_error END,
          due_at = CASE
            WHEN held.wait_ms IS NOT NULL THEN now() + held.wait_ms * interval '1 millisecond'
            WHEN l.other_handle IS NOT NULL THEN now() END
        FROM held WHERE l.lease_id = held.lease_id
        RETURNING l.lease_id, held.event_id, held.event),
      written AS (
        INSERT INTO revocation.outbox (event_id, message_id, event)
        SELECT done.event_id, done.event_id::text, done.event FROM done)
      SELECT done.lease_id FROM done`,
    values: [
      ends.map((end) => end.leaseId),
      ends.map((end) => end.state),
      ends.map((end) => end.event.id),
      ends.map((end) => JSON.stringify(end.event)),
      ends.map((end) => end.claims),
      ends.map((end) => end.cleanUpInMs ?? null),
    ],
  });
  return new Set(rows.map((row) => row.lease_id));
}

/** Another attempt `waitMs` from now, because of an error of this code. Does nothing when the claim was lost meanwhile. */
export async function postpone(pool: Pool, lease: Claim, waitMs: number, code: ErrorCode): Promise<void> {
  await pool.query({
    name: 'postpone',
    text: `
      UPDATE revocation.leases SET
        due_at = now() + $3::double precision * interval '1 millisecond', claimed_until = NULL, last_error = $4
      WHERE lease_id = $1 AND claims = $2 AND due_at IS NOT NULL`,
    values: [lease.leaseId, lease.claims, waitMs, code],
  });
}

/** As `postpone`, for what was not tried: the attempt does not count. */
export async function putOff(pool: Pool, lease: Claim, waitMs: number, code: ErrorCode): Promise<void> {
  await pool.query({
    name: 'put_off',
    text: `
      UPDATE revocation.leases SET
        due_at = now() + $3::double precision * interval '1 millisecond', claimed_until = NULL, last_error = $4,
        attempts = attempts - 1
      WHERE lease_id = $1 AND claims = $2 AND due_at IS NOT NULL`,
    values: [lease.leaseId, lease.claims, waitMs, code],
  });
}

/** As `postpone`, and moves `revoking` to `revocation_failed` with its event. False when the claim was lost meanwhile. */
export async function declareFailing(
  pool: Pool,
  lease: Claim,
  waitMs: number,
  code: ErrorCode,
  event: MayflyEvent,
): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'declare_failing',
    text: `
      WITH failing AS (
        UPDATE revocation.leases SET
          state = 'revocation_failed',
          due_at = now() + $3::double precision * interval '1 millisecond', claimed_until = NULL, last_error = $7
        WHERE lease_id = $1 AND claims = $2 AND state = 'revoking'
        RETURNING lease_id)
      INSERT INTO revocation.outbox (event_id, message_id, event) SELECT $4::uuid, $5, $6 FROM failing`,
    values: [lease.leaseId, lease.claims, waitMs, event.id, event.id, JSON.stringify(event), code],
  });
  return rowCount === 1;
}

/** As `postpone`, and tells with its event that the clean-up after an end has failed. False when the claim was lost meanwhile. */
export async function declareCleanUpFailing(
  pool: Pool,
  lease: Claim,
  waitMs: number,
  code: ErrorCode,
  event: MayflyEvent,
): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'declare_clean_up_failing',
    text: `
      WITH failing AS (
        UPDATE revocation.leases SET
          cleanup_failed_at = now(),
          due_at = now() + $3::double precision * interval '1 millisecond', claimed_until = NULL, last_error = $7
        WHERE lease_id = $1 AND claims = $2 AND cleanup = 'pending' AND cleanup_failed_at IS NULL
        RETURNING lease_id)
      INSERT INTO revocation.outbox (event_id, message_id, event) SELECT $4::uuid, $5, $6 FROM failing`,
    values: [lease.leaseId, lease.claims, waitMs, event.id, event.id, JSON.stringify(event), code],
  });
  return rowCount === 1;
}

/** Most that are hastened by one statement; the rest is tried when its time comes. */
const hastenedAtMost = 10_000;

/** Makes due at once what waits because an upstream could not be reached; answers with how many. */
export async function hasten(
  pool: Pool,
  { organization, integration }: Pick<Lease, 'organization' | 'integration'>,
): Promise<number> {
  const { rowCount } = await pool.query({
    name: 'hasten',
    text: `
      UPDATE revocation.leases l SET due_at = now()
      FROM (SELECT w.lease_id FROM revocation.leases w
            WHERE w.organization = $1 AND w.integration = $2 AND w.last_error = 'provider_unavailable' AND w.due_at > now()
            ORDER BY w.lease_id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) AS waiting
      WHERE l.lease_id = waiting.lease_id`,
    values: [organization, integration, hastenedAtMost],
  });
  return rowCount ?? 0;
}

/**
 * Makes another lease due in `waitMs` at the latest that waits because the same upstream could not be reached, the one that was tried
 * the fewest times. False when there is none.
 */
export async function bringForward(
  pool: Pool,
  { organization, integration, leaseId }: Pick<Lease, 'organization' | 'integration' | 'leaseId'>,
  waitMs: number,
): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'bring_forward',
    text: `
      UPDATE revocation.leases l SET due_at = least(l.due_at, now() + $4::double precision * interval '1 millisecond')
      FROM (SELECT w.lease_id FROM revocation.leases w
            WHERE w.organization = $1 AND w.integration = $2 AND w.last_error = 'provider_unavailable' AND w.due_at > now()
              AND w.claimed_until IS NULL AND w.access_ended_at IS NULL AND w.lease_id <> $3
            ORDER BY w.attempts, w.lease_id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED) AS waiting
      WHERE l.lease_id = waiting.lease_id`,
    values: [organization, integration, leaseId, waitMs],
  });
  return rowCount === 1;
}

/** Gives a claim back unused; the lease is due at once, for anyone. */
export async function releaseClaim(pool: Pool, lease: Claim): Promise<void> {
  await pool.query({
    name: 'release_claim',
    text: `
      UPDATE revocation.leases SET claimed_until = NULL, attempts = attempts - 1
      WHERE lease_id = $1 AND claims = $2 AND due_at IS NOT NULL`,
    values: [lease.leaseId, lease.claims],
  });
}

/**
 * Gives up on an intent: from here on its activation is refused. The claim on it goes on, for the clean-up. False when
 * it was activated, abandoned or orphaned by another meanwhile.
 */
export async function orphan(pool: Pool, lease: Claim, event: MayflyEvent): Promise<boolean> {
  const { rowCount } = await pool.query({
    name: 'orphan',
    text: `
      WITH orphaned AS (
        UPDATE revocation.leases SET
          state = 'orphaned', ended_at = now(), end_reason = 'not_activated', cleanup = 'pending', due_at = now()
        WHERE lease_id = $1 AND claims = $5 AND state = 'intended'
        RETURNING lease_id)
      INSERT INTO revocation.outbox (event_id, message_id, event) SELECT $2::uuid, $3, $4 FROM orphaned`,
    values: [lease.leaseId, event.id, event.id, JSON.stringify(event), lease.claims],
  });
  return rowCount === 1;
}

/**
 * The access of what a mint without activation left has ended, and something of it is still to be cleaned up, by this handle. Does
 * nothing when the claim was lost meanwhile.
 */
export async function recordAccessEnded(
  pool: Pool,
  lease: Claim,
  waitMs: number,
  handle: string | undefined,
): Promise<void> {
  await pool.query({
    name: 'record_access_ended',
    text: `
      UPDATE revocation.leases SET
        access_ended_at = now(), handle = coalesce($4, handle), attempts = 0, last_error = NULL, claimed_until = NULL,
        due_at = now() + $3::double precision * interval '1 millisecond'
      WHERE lease_id = $1 AND claims = $2 AND cleanup = 'pending'`,
    values: [lease.leaseId, lease.claims, waitMs, handle ?? null],
  });
}

/**
 * Nothing more is to be done for what a lease left upstream, unless another redemption of its grant left something too: that is to be
 * removed next. Does nothing when the claim was lost meanwhile: its mint may have told of more to remove. `event` is told when this
 * was the clean-up after an end.
 */
export async function completeCleanup(
  pool: Pool,
  lease: Claim,
  cleanup: 'done' | 'unreachable',
  event?: MayflyEvent,
): Promise<void> {
  await pool.query({
    name: 'complete_cleanup',
    text: `
      WITH cleaned AS (
        UPDATE revocation.leases SET
          cleanup = CASE WHEN other_handle IS NULL THEN $2 ELSE 'pending' END,
          handle = other_handle, other_handle = NULL,
          access_ended_at = CASE WHEN other_handle IS NULL THEN access_ended_at END,
          due_at = CASE WHEN other_handle IS NOT NULL THEN now() END, claimed_until = NULL
        WHERE lease_id = $1 AND claims = $3 AND cleanup = 'pending'
        RETURNING lease_id)
      INSERT INTO revocation.outbox (event_id, message_id, event)
      SELECT $4::uuid, $5, $6 FROM cleaned WHERE $4::uuid IS NOT NULL`,
    values: [
      lease.leaseId,
      cleanup,
      lease.claims,
      event?.id ?? null,
      event?.id ?? null,
      event === undefined ? null : JSON.stringify(event),
    ],
  });
}
