/** How late the ends of honest and of hostile agents' leases were, told apart: the one must not be due to the other. */
import type { HostileLessee } from '../load/hostile/hostile-lessee.ts';
import type { Party } from '../load/ledger.ts';
import type { Check } from './accounting.ts';
import { graceMs, type FaultLog } from './fault-log.ts';
import type { OverstayedSessions } from './overstayed-sessions.ts';
import type { LeaseRow } from './register.ts';

const enoughTries = 10;

/** Of one party's leases. Milliseconds. */
export interface PartyFigures {
  /** How many were released. */
  readonly leases: number;
  /** Worst lateness of an end against `expires_at`, and the same less what stood in the way. */
  readonly lateMs: number;
  readonly lateAfterMs: number;
  /** How long after its end, less what stood in the way, somebody was last seen to be logged in. */
  readonly accessMs: number;
}

/** Of the leases in which one habit was practised. */
export interface HabitFigures {
  readonly habit: string;
  readonly leases: number;
  readonly lateAfterMs: number;
}

/** How late the lease ended, less what stood in the way: until now where it has not ended. Milliseconds; 0 when it was in time. */
export function lateAfterMs(lease: LeaseRow, faults: FaultLog, now = Date.now()): number {
  if (lease.expiresAt === undefined) return 0;
  // What a paused mint activates too late is due only then; nobody had it before.
  return faults.healthyBetween(Math.max(lease.expiresAt, lease.issuedAt ?? 0), lease.endedAt ?? now);
}

export function figuresOf(
  party: Party,
  leases: readonly LeaseRow[],
  faults: FaultLog,
  sessions: OverstayedSessions,
): PartyFigures {
  const now = Date.now();
  const released = leases.filter((lease) => lease.party === party && lease.issuedAt !== undefined);
  const worst = (of: (lease: LeaseRow) => number) =>
    released.reduce((most, lease) => Math.max(most, of(lease)), 0);
  return {
    leases: released.length,
    lateMs: worst(({ expiresAt = Infinity, endedAt = now }) => endedAt - expiresAt),
    lateAfterMs: worst((lease) => lateAfterMs(lease, faults, now)),
    accessMs: worst(({ leaseId }) => sessions.overMs(leaseId)),
  };
}

export function figuresByHabit(
  lessees: readonly HostileLessee[],
  leases: readonly LeaseRow[],
  faults: FaultLog,
): HabitFigures[] {
  const known = new Map(leases.map((lease) => [lease.leaseId, lease]));
  return [...Map.groupBy(lessees, ({ habit }) => habit.name)].map(([habit, having]) => ({
    habit,
    leases: having.length,
    lateAfterMs: having.reduce((most, { leaseId }) => {
      const lease = known.get(leaseId);
      return lease === undefined ? most : Math.max(most, lateAfterMs(lease, faults));
    }, 0),
  }));
}

/** A habit without effect would prove nothing. What was practised a few times only may have been in vain for other reasons. */
export function checkHabitsTakeHold(lessees: readonly HostileLessee[]): Check {
  const habits = [...Map.groupBy(lessees, ({ habit }) => habit.name)];
  return {
    name: 'what hostile lessees do takes hold',
    problems: habits
      .filter(
        ([, having]) => having.length >= enoughTries && !having.some(({ hasTakenHold }) => hasTakenHold),
      )
      .map(([habit, having]) => `${habit} never, in ${String(having.length)} leases`),
    note: `${String(lessees.filter(({ hasTakenHold }) => hasTakenHold).length)} of ${String(lessees.length)} leases`,
  };
}

/** The configuration's limits are out of reach: honest agents reach one only through what hostile ones do to the clean-ups of others. */
export function checkHonestNotLimited(failures: ReadonlyMap<string, number>): Check {
  const times = failures.get('limit_exceeded') ?? 0;
  return {
    name: 'no honest agent is refused for what hostile ones do',
    problems: times === 0 ? [] : [`limit_exceeded ${String(times)} times`],
  };
}

/** Nobody who means harm works later than the grace after the end that the register tells. */
export function checkNoHostileWork(
  lessees: readonly HostileLessee[],
  leases: readonly LeaseRow[],
  faults: FaultLog,
): Check {
  const overAt = new Map(
    leases.map(({ leaseId, expiresAt = Infinity, endedAt = Infinity }) => [
      leaseId,
      Math.min(expiresAt, endedAt),
    ]),
  );
  const problems = lessees.flatMap(({ leaseId, habit, lastWorkedAt = 0 }) => {
    const over = faults.healthyBetween(overAt.get(leaseId) ?? 0, lastWorkedAt);
    if (over <= graceMs) return [];
    return [`${leaseId} (${habit.name}) was at work ${(over / 1000).toFixed(1)} s after its end`];
  });
  return {
    name: 'no hostile lessee works after its time',
    problems,
    note: `${String(lessees.length)} lessees`,
  };
}
