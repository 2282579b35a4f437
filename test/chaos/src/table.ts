/** What a run found, for people. */
import type { HabitFigures } from './checks/parties.ts';
import type { Party } from './load/ledger.ts';
import type { Report } from './run-plan.ts';

const shownProblems = 3;

/** The table of faults, then the checks of the whole run, then what was going on. */
export function describe(title: string, report: Report): string {
  const width = Math.max(...report.rows.map(({ fault }) => fault.length), 5);
  const cells = (fault: string, ...columns: string[]): string =>
    [fault.padEnd(width), ...columns.map((cell) => cell.padStart(8))].join('  ');
  return [
    '',
    title,
    cells('fault', 'issued', 'lost', 'orphans', 'late', 'after', 'hostile', 'verdict'),
    ...report.rows.flatMap((row) => [
      cells(
        row.fault,
        String(row.issued),
        String(row.lost),
        String(row.orphans),
        seconds(row.lateMs),
        seconds(row.lateAfterMs),
        seconds(row.hostileLateAfterMs),
        row.verdict,
      ),
      ...few(row.problems),
    ]),
    '',
    ...report.checks.flatMap(({ name, problems, note }) => [
      `${problems.length === 0 ? 'ok     ' : 'FAILED '} ${name}${note === undefined ? '' : ` (${note})`}`,
      ...few(problems),
    ]),
    '',
    `asked ${report.askedRate.toFixed(0)}/s; ${String(report.issued)} issued, ${report.rate.toFixed(0)}/s over the whole run, ${report.healthyRate.toFixed(0)}/s while nothing was broken; ` +
      `${String(report.sessionsCut)} open sessions seen cut; longest-lived orphan ${seconds(report.worstOrphanMs)}`,
    ...parties.flatMap((party) => describeParty(party, report)),
    ...(report.habits.length === 0 ? [] : [describeHabits(report.habits)]),
    ...(report.stalls.count === 0
      ? []
      : [
          `the machine did not run the suite itself ${String(report.stalls.count)} times, ${seconds(report.stalls.totalMs)} in all; that counts as a fault in the way`,
        ]),
    ...(report.logs === undefined ? [] : [`logs of this run: ${report.logs}`]),
    '"late" is against expires_at, "after" against the end of the fault that stood in the way; "hostile" is the same as "after", of hostile agents.',
  ].join('\n');
}

const parties: readonly Party[] = ['honest', 'hostile'];

function describeParty(party: Party, report: Report): string[] {
  const { leases, lateMs, lateAfterMs, accessMs } = report.parties[party];
  const failures = [...report.failures[party]].map(([code, count]) => `${code} ${String(count)}`);
  if (leases === 0 && failures.length === 0) return [];
  const { now, most } = report.cleanUps[party];
  return [
    `${party} agents: ${String(leases)} leases, late ${seconds(lateMs)}, after ${seconds(lateAfterMs)}, last logged in ${seconds(accessMs)} after an end; ` +
      `clean-ups pending: ${String(now)} at the end, ${String(most)} at most`,
    `  refused or failed, as they saw it: ${failures.join(', ') || 'nothing'}`,
  ];
}

function describeHabits(habits: readonly HabitFigures[]): string {
  const each = habits
    .toSorted((a, b) => a.habit.localeCompare(b.habit))
    .map(({ habit, leases, lateAfterMs }) => `${habit} ${String(leases)} (${seconds(lateAfterMs)})`);
  return `  Postgres leases by what was done with them (after): ${each.join(', ')}`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function few(problems: readonly string[]): string[] {
  const more = problems.length - shownProblems;
  return [...problems.slice(0, shownProblems), ...(more > 0 ? [`and ${String(more)} more`] : [])].map(
    (problem) => `    ${problem}`,
  );
}

/** Each fault and each check counts once; what could not be run counts as neither. */
export function countVerdicts({ rows, checks }: Report): { passed: number; failed: number } {
  const failed =
    rows.filter(({ verdict }) => verdict === 'FAILED').length +
    checks.filter(({ problems }) => problems.length > 0).length;
  const passed =
    rows.filter(({ verdict }) => verdict === 'ok').length +
    checks.length -
    checks.filter(({ problems }) => problems.length > 0).length;
  return { passed, failed };
}
