/** A verification in words and as JSON. */
import type { Progress, Report } from '@mayfly/audit-log';
import type { Finding } from '@mayfly/domain';

/** With more than these on the terminal nobody reads on; `--json` has them. */
const mostShown = 20;

/** `seq`, `problem` and `detail` are those of the first finding, a row before an object. */
/** @param withFile whether the checkpoints outside Postgres were compared. */
export function verificationJson({ findings, end, rows, checkpoints }: Report, withFile: boolean): object {
  const checkpoint_file = withFile ? 'compared' : 'not_compared';
  const first = firstOf(findings.all);
  if (first === undefined) return { outcome: 'intact', rows, checkpoints, checkpoint_file, head: end.hash };
  const { seq, id, problem, detail } = first;
  return {
    outcome: 'broken',
    checkpoint_file,
    ...(seq !== undefined && { seq }),
    ...(id !== undefined && { id }),
    problem,
    detail,
    findings: findings.all,
    findings_total: findings.total,
  };
}

/** @param withFile whether the checkpoints outside Postgres were compared. */
export function verificationLines({ findings, end, rows, checkpoints }: Report, withFile: boolean): string[] {
  const first = firstOf(findings.all);
  if (first === undefined) {
    const where = withFile ? 'in Postgres and the file' : 'in Postgres only; no checkpoint file was given';
    return [`intact: ${rows} rows, ${checkpoints} checkpoints (${where}), head ${end.hash.slice(0, 16)}…`];
  }
  const others = findings.all.filter((finding) => finding !== first);
  const shown = [first, ...others].slice(0, mostShown);
  const more = findings.total - shown.length;
  return [
    ...shown.flatMap((finding) => [
      `BROKEN at ${finding.seq === undefined ? (finding.object ?? 'the log') : `row ${finding.seq}`}: ${finding.detail}`,
      ...(finding.differences ?? []).map(
        ({ property, expected, found }) =>
          `  ${property}: expected ${brief(expected)}, found ${brief(found)}`,
      ),
    ]),
    ...(more > 0 ? [`… and ${more} more; --json tells of the first ${findings.all.length}.`] : []),
  ];
}

export function progressText(progress: Progress): string {
  switch (progress.step) {
    case 'definitions':
      return 'comparing the definitions';
    case 'rows':
      return `${progress.done} of ${progress.total} rows`;
    case 'checkpoints':
      return `${progress.done} checkpoints in Postgres`;
    case 'file':
      return `${progress.done} checkpoints in the file`;
    case 'index':
      return `reading index ${progress.name}`;
  }
}

function firstOf(findings: readonly Finding[]): Finding | undefined {
  return findings.find(({ seq }) => seq !== undefined) ?? findings[0];
}

function brief(value: string | null): string {
  if (value === null) return 'nothing';
  const line = value.replaceAll(/\s+/g, ' ').trim();
  return line.length > 160 ? `${line.slice(0, 160)}…` : line;
}
