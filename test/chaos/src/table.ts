/** What a run found, for people. */
import type { Report } from './run-plan.ts';

const shownProblems = 3;

/** The table of faults, then the checks of the whole run, then what was going on. */
export function describe(title: string, report: Report): string {
  const width = Math.max(...report.rows.map(({ fault }) => fault.length), 5);
  const cells = (fault: string, ...columns: string[]): string =>
    [fault.padEnd(width), ...columns.map((cell) => cell.padStart(8))].join('  ');
  const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
  return [
    '',
    title,
    cells('fault', 'issued', 'lost', 'orphans', 'late', 'after', 'verdict'),
    ...report.rows.flatMap(({ fault, issued, lost, orphans, lateMs, lateAfterMs, verdict, problems }) => [
      cells(
        fault,
        String(issued),
        String(lost),
        String(orphans),
        seconds(lateMs),
        seconds(lateAfterMs),
        verdict,
      ),
      ...few(problems),
    ]),
    '',
    ...report.checks.flatMap(({ name, problems, note }) => [
      `${problems.length === 0 ? 'ok     ' : 'FAILED '} ${name}${note === undefined ? '' : ` (${note})`}`,
      ...few(problems),
    ]),
    '',
    `asked ${report.askedRate.toFixed(0)}/s; ${String(report.issued)} issued, ${report.rate.toFixed(0)}/s over the whole run, ${report.healthyRate.toFixed(0)}/s while nothing was broken; ` +
      `${String(report.sessionsCut)} open sessions seen cut; longest-lived orphan ${seconds(report.worstOrphanMs)}`,
    `refused or failed, as agents saw it: ${[...report.failures].map(([code, count]) => `${code} ${String(count)}`).join(', ') || 'nothing'}`,
    ...(report.stalls.count === 0
      ? []
      : [
          `the machine did not run the suite itself ${String(report.stalls.count)} times, ${seconds(report.stalls.totalMs)} in all; that counts as a fault in the way`,
        ]),
    ...(report.logs === undefined ? [] : [`logs of this run: ${report.logs}`]),
    '"late" is against expires_at, "after" against the end of the fault that stood in the way.',
  ].join('\n');
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
