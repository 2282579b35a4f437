/**
 * A time after which a statement refuses itself, by the server's own clock. What was sent and never answered may still arrive:
 * after a broken network has healed, or when this process was stopped between its look at the clock and the sending. By then
 * somebody has looked for what it made, found nothing and said so.
 *
 * No clocks of two machines are compared: the server's was read on the same connection, and what has passed since is measured by
 * the monotonic one here. The instant of a reading is that of its arrival, so that the server's clock is taken for a little
 * behind: a statement is refused too early rather than too late. A server's clock that is set forward, or a machine here that
 * was suspended, has statements refused that are in time (closed): the connection's clock is read again, and the mint tried
 * again. One that is set back lets statements through that are late by as much, until the next reading (open, for a minute at
 * most): the comparison with the register finds what they make.
 */

/** What a server's clock said, and when. */
export interface ClockReading {
  /** Epoch milliseconds, by the server. */
  readonly serverMs: number;
  /** When that arrived, on the monotonic clock (`performance.now()`). */
  readonly readAt: number;
}

/** How long a reading is good for, in milliseconds: clocks that are a thousandth apart drift by 60 ms. */
const freshMs = 60_000;

export function isFresh({ readAt }: ClockReading, now: number): boolean {
  return now - readAt < freshMs;
}

/** The server's clock `inMs` from now, in epoch milliseconds. */
export function serverInstant({ serverMs, readAt }: ClockReading, inMs: number, now: number): number {
  return serverMs + (now - readAt) + inMs;
}

/** The server's clock as epoch milliseconds, as SQL. Not `now()`, which is when the transaction began. */
export const clockMs = '(extract(epoch FROM clock_timestamp()) * 1000)::float8';

/** SQLSTATE of a statement that came too late: no class of PostgreSQL's. */
export const arrivedLate = 'MF002';

/** Ends the transaction when it is later than `serverMs`, as a statement of PL/pgSQL. */
export function refuseAfter(serverMs: number): string {
  return `IF ${clockMs} > ${Math.floor(serverMs)} THEN
    RAISE EXCEPTION 'arrived after its deadline' USING ERRCODE = '${arrivedLate}';
  END IF;`;
}
