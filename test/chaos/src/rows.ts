/** The lines of the table: what happened from the beginning of one fault to that of the next. */
import { lateAfterMs } from './checks/parties.ts';
import { graceMs } from './checks/fault-log.ts';
import type { LeaseRow } from './checks/register.ts';
import type { UpstreamWatch } from './checks/upstream-watch.ts';
import type { Scene } from './faults/fault.ts';

/** One line of the table. */
export interface Row {
  readonly fault: string;
  readonly issued: number;
  readonly lost: number;
  readonly orphans: number;
  /** Of honest agents: worst lateness of an end against `expires_at`, and against the end of the fault. Milliseconds. */
  readonly lateMs: number;
  readonly lateAfterMs: number;
  /** Of hostile agents: worst lateness of an end against the end of the fault. Milliseconds. */
  readonly hostileLateAfterMs: number;
  readonly verdict: 'ok' | 'FAILED' | 'NOT RUN';
  readonly problems: readonly string[];
}

/** What became of one fault. */
export interface Episode {
  readonly fault: string;
  readonly start: number;
  readonly problems: string[];
  notPossible: string | undefined;
  /** Milliseconds: harm done and mended, what was overdue ended, something issued again. */
  readonly tookMs: number[];
}

export function rowsOf(
  episodes: readonly Episode[],
  leases: readonly LeaseRow[],
  lost: readonly string[],
  { ledger, faults }: Pick<Scene, 'ledger' | 'faults'>,
  watch: Pick<UpstreamWatch, 'orphansSeenAt'>,
): Row[] {
  const isLost = new Set(lost);
  return episodes.map(({ fault, start, problems, notPossible }, index) => {
    const end = episodes[index + 1]?.start ?? Infinity;
    const within = (instant: number | undefined): boolean =>
      instant !== undefined && instant >= start && instant < end;
    const left = ledger.all().filter(({ receivedAt }) => within(receivedAt));
    const due = leases
      .filter(({ expiresAt, endedAt }) => within(expiresAt) && endedAt !== undefined)
      .map((lease) => ({ lease, ms: lateAfterMs(lease, faults) }));
    const honest = due.filter(({ lease }) => lease.party === 'honest');
    const hostile = due.filter(({ lease }) => lease.party === 'hostile');
    const told = [...problems];
    for (const { lease, ms } of due)
      if (ms > graceMs)
        told.push(`ended ${(ms / 1000).toFixed(1)} s late: ${lease.party} ${lease.leaseId} ${lease.told}`);
    const lostHere = left.filter(({ leaseId }) => isLost.has(leaseId)).length;
    if (lostHere > 0) told.push(`${String(lostHere)} credentials left without being accounted for`);
    const orphanedRows = leases.filter(
      ({ state, intendedAt }) => state === 'orphaned' && within(intendedAt),
    ).length;
    return {
      fault,
      issued: left.length,
      lost: lostHere,
      orphans: Math.max(orphanedRows, watch.orphansSeenAt.filter(within).length),
      lateMs: worst(honest.map(({ lease: { expiresAt = 0, endedAt = 0 } }) => endedAt - expiresAt)),
      lateAfterMs: worst(honest.map(({ ms }) => ms)),
      hostileLateAfterMs: worst(hostile.map(({ ms }) => ms)),
      verdict: told.length > 0 ? 'FAILED' : notPossible === undefined ? 'ok' : 'NOT RUN',
      problems: notPossible === undefined ? told : [...told, notPossible],
    };
  });
}

function worst(milliseconds: readonly number[]): number {
  return Math.max(0, ...milliseconds);
}
