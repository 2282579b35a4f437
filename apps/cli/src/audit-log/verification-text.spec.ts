import { describe, expect, it } from '@jest/globals';
import { Findings, type Report } from '@mayfly/audit-log';
import type { Finding } from '@mayfly/domain';
import { verificationJson, verificationLines } from './verification-text.ts';

const report = (...found: Finding[]): Report => {
  const findings = new Findings();
  findings.add(...found);
  return { findings, end: { seq: 7, hash: 'ab'.repeat(32) }, rows: 7, checkpoints: 3 };
};
const view: Finding = {
  problem: 'definition',
  object: 'view audit.events',
  detail: 'View audit.events is not what the migrations make: definition.',
  differences: [{ property: 'definition', expected: ' SELECT a\n   FROM b', found: null }],
};
const row: Finding = { problem: 'changed', seq: 5, id: 'e', detail: 'Row 5 is not what was written there.' };

describe('a verification', () => {
  it('of an intact log is one line', () => {
    expect(verificationLines(report(), true)).toEqual([
      'intact: 7 rows, 3 checkpoints (in Postgres and the file), head abababababababab…',
    ]);
    expect(verificationJson(report(), true)).toEqual({
      outcome: 'intact',
      rows: 7,
      checkpoints: 3,
      checkpoint_file: 'compared',
      head: 'ab'.repeat(32),
    });
    expect(verificationJson(report(), false)).toMatchObject({
      outcome: 'intact',
      checkpoint_file: 'not_compared',
    });
  });

  it('names each bad row and object, and how it is wrong, a row first', () => {
    expect(verificationLines(report(view, row), true)).toEqual([
      'BROKEN at row 5: Row 5 is not what was written there.',
      'BROKEN at view audit.events: View audit.events is not what the migrations make: definition.',
      '  definition: expected SELECT a FROM b, found nothing',
    ]);
    expect(verificationJson(report(view, row), true)).toMatchObject({
      outcome: 'broken',
      seq: 5,
      id: 'e',
      problem: 'changed',
      findings: [view, row],
      findings_total: 2,
    });
  });

  it('says how much more there is', () => {
    const rows = Array.from({ length: 500 }, (_, n) => ({ ...row, seq: n + 1 }));
    expect(verificationLines(report(...rows), true).at(-1)).toBe(
      '… and 480 more; --json tells of the first 200.',
    );
    expect((verificationJson(report(...rows), true) as { findings: [] }).findings).toHaveLength(200);
  });
});
