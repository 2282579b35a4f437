/**
 * A verification of the audit log, whole or from where an earlier one has ended: the definitions, the rows, the checkpoints, the file
 * of checkpoints and, when it is whole, the indexes. Reads in small statements, so that no long transaction keeps Postgres from
 * clearing away what other tables have outgrown, and holds no more than a window of rows at a time.
 */
import { chainStart, ChainWalk, type Finding } from '@mayfly/domain';
import type { CheckpointVerifier } from './checkpoint-verifier.ts';
import { verifyCheckpointsInFile } from './checkpoints-in-file.ts';
import { verifyCheckpointsInPostgres } from './checkpoints-in-postgres.ts';
import { compareDefinitions } from './definitions/compare.ts';
import { expectedObjects } from './definitions/expected.ts';
import { readFacts, readMajor } from './definitions/facts.ts';
import { findHidden } from './hidden-rows.ts';
import type { LogSession } from './log-session.ts';
import { Findings, mostFindings, type Report, type VerifiedThrough } from './report.ts';
import { misplaced, nextTaken, readEnd, readPartitions, readWindow, windowSize } from './rows.ts';

export interface VerifySettings {
  readonly session: LogSession;
  readonly verifier: CheckpointVerifier;
  /** The role that is to own the schema: that of the audit service. */
  readonly ownerRole: string;
  /** The file of checkpoints outside Postgres; without it, only what Postgres says of itself is compared. */
  readonly checkpointFile?: string | undefined;
  /** Where an earlier verification has ended. What it has seen must still be there. */
  readonly seen?: VerifiedThrough | undefined;
  /** Begin with the first row, and read the indexes; otherwise go on from what was `seen`. */
  readonly whole: boolean;
  /** Told of each step, of rows with how many there are. */
  readonly onProgress?: (progress: Progress) => void;
  /** Called after each small piece of work, to rest, or to throw and so give up. */
  readonly pace?: () => Promise<void>;
}

export type Progress =
  | { readonly step: 'rows'; readonly done: number; readonly total: number }
  | { readonly step: 'checkpoints' | 'file'; readonly done: number }
  | { readonly step: 'definitions' }
  | { readonly step: 'index'; readonly name: string };

/**
 * Throws what Postgres or the file system reports: then nothing is known about the log. That a part of it is not there, or may not be
 * read, is a finding.
 */
export async function verifyLog(settings: VerifySettings): Promise<Report> {
  const findings = new Findings();
  const walk = new ChainWalk(settings.whole ? chainStart : (settings.seen?.row ?? chainStart));
  const counts = { rows: 0, checkpoints: 0 };
  let through: VerifiedThrough | undefined;
  try {
    settings.onProgress?.({ step: 'definitions' });
    findings.add(...(await verifyDefinitions(settings.session, settings.ownerRole)));
    through = await verifyContent(settings, walk, findings, counts);
  } catch (error) {
    findings.add(unreadable(error));
  }
  const report = { findings, end: { seq: walk.seq, hash: walk.hash ?? '' }, ...counts };
  return findings.total > 0 || through === undefined ? report : { ...report, through };
}

/** Rows, checkpoints, the file, and with a whole verification the indexes. */
async function verifyContent(
  settings: VerifySettings,
  walk: ChainWalk,
  findings: Findings,
  counts: { rows: number; checkpoints: number },
): Promise<VerifiedThrough> {
  const { session, verifier, seen, checkpointFile } = settings;
  const from = settings.whole ? undefined : seen;
  const [progress, pace] = [settings.onProgress ?? silent, settings.pace ?? rest];
  const { heads, last } = await readEnd(session);
  const started = walk.seq;
  if (seen !== undefined) findings.add(...(await verifySeen(session, seen)));
  counts.rows = await walkRows(settings, walk, last, findings);
  findings.add(...endFindings(heads, walk, last));

  const after = from?.checkpoint === undefined ? undefined : { seq: from.row.seq, digest: from.checkpoint };
  const through = Math.max(last, started);
  const inPostgres = await verifyCheckpointsInPostgres(
    session,
    verifier,
    after,
    through,
    async (found, done) => {
      findings.add(...found);
      progress({ step: 'checkpoints', done });
      await pace();
    },
  );
  counts.checkpoints = inPostgres.count;
  findings.add(...(await checkpointsBeyond(session)));

  let fileBytes = seen?.fileBytes ?? 0;
  if (checkpointFile !== undefined) {
    const file = {
      path: checkpointFile,
      from: from?.fileBytes ?? 0,
      atLeast: fileBytes,
      verified: { after: after?.seq ?? 0, through: inPostgres.last?.seq ?? 0 },
      lastRow: (await readEnd(session)).last,
    };
    const read = await verifyCheckpointsInFile(session, verifier, file, async (found, done) => {
      findings.add(...found);
      progress({ step: 'file', done });
      await pace();
    });
    fileBytes = read.end;
    counts.checkpoints += read.count;
  }
  if (from === undefined) {
    findings.add(...(await findHidden(session, (name) => progress({ step: 'index', name }))));
  }
  return throughOf(session, inPostgres.last, fileBytes);
}

/** PostgreSQL documentation, appendix A: no such table, column, function or schema, and no right to it. */
const notThere: readonly string[] = ['42501', '42P01', '42703', '42883', '3F000'];

/** Throws the error again when it says nothing about the log. */
function unreadable(error: unknown): Finding {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code !== 'string' || !notThere.includes(code)) throw error;
  return {
    problem: 'definition',
    object: 'the log',
    detail: `A part of the log, or the right to read it, is gone (${code}): somebody took it away, or the audit service is older than this and has not run its migrations.`,
  };
}

async function verifyDefinitions(session: LogSession, ownerRole: string): Promise<Finding[]> {
  const major = await readMajor(session);
  const expected = await expectedObjects(major);
  if (expected === undefined) {
    const detail = `What the migrations make on PostgreSQL ${major} is not known to this version of Mayfly: definitions were not checked.`;
    return [{ problem: 'version', object: `PostgreSQL ${major}`, detail }];
  }
  return compareDefinitions(expected, await readFacts(session, ownerRole));
}

/** The row that an earlier verification has ended with is one more thing that is known outside Postgres. */
async function verifySeen(session: LogSession, { row }: VerifiedThrough): Promise<Finding[]> {
  if (row.seq === 0) return [];
  const [found] = await readWindow(session, row.seq - 1, row.seq);
  if (found?.hash === row.hash) return [];
  if (found === undefined) {
    const detail = `Row ${row.seq}, which an earlier verification has seen, is missing.`;
    return [{ problem: 'truncated', seq: row.seq, detail }];
  }
  const detail = `Row ${row.seq} is another one than an earlier verification has seen.`;
  return [{ problem: 'rewritten', seq: row.seq, detail }];
}

async function walkRows(
  settings: VerifySettings,
  walk: ChainWalk,
  last: number,
  findings: Findings,
): Promise<number> {
  const { session } = settings;
  const partitions = await readPartitions(session);
  let rows = 0;
  while (walk.seq < last && findings.total < 5 * mostFindings) {
    let from = walk.seq;
    let window = await readWindow(session, from, Math.min(from + windowSize, last));
    if (window.length === 0) {
      const next = await nextTaken(session, from, last);
      if (next === undefined) break;
      from = next - 1;
      window = await readWindow(session, from, Math.min(from + windowSize, last));
    }
    for (const row of window) findings.add(...walk.take(row), ...misplaced(row, partitions));
    rows += window.length;
    settings.onProgress?.({ step: 'rows', done: walk.seq, total: last });
    await (settings.pace ?? rest)();
    // Nothing moves on where an index denies rows that another one has told of.
    if (walk.seq === from) break;
  }
  return rows;
}

/** What the log says of its own end, held against its end. */
function endFindings(
  heads: readonly { readonly seq: number; readonly hash: string | null }[],
  walk: ChainWalk,
  last: number,
): Finding[] {
  const [head] = heads;
  if (heads.length !== 1 || head === undefined) {
    const detail = `audit.chain_head has ${heads.length} rows instead of one.`;
    return [{ problem: 'changed', object: 'table audit.chain_head', detail }];
  }
  if (head.seq > last) {
    const detail = `Row ${last + 1} and what follows is missing: the log ends at row ${last}, and it says that it ends at row ${head.seq}.`;
    return [{ problem: 'truncated', seq: last + 1, detail }];
  }
  if (head.seq < last) {
    const detail = `Row ${head.seq + 1} and what follows was added behind the end: the log says that it ends at row ${head.seq}, and it ends at row ${last}.`;
    return [{ problem: 'hidden', seq: head.seq + 1, detail }];
  }
  if (walk.seq === last && walk.hash !== undefined && head.hash !== walk.hash) {
    const differences = [{ property: 'hash', expected: walk.hash, found: head.hash }];
    return [
      {
        problem: 'changed',
        object: 'table audit.chain_head',
        differences,
        detail: `audit.chain_head has another hash than row ${last}.`,
      },
    ];
  }
  return [];
}

/** Checkpoints of rows that are not there. What is being written meanwhile has its row first. */
async function checkpointsBeyond(session: LogSession): Promise<Finding[]> {
  const [row] = await session.rows<'seen' | 'last'>(
    `SELECT (SELECT max(c.seq) FROM audit.checkpoint AS c) AS seen, (SELECT coalesce(max(log.seq), 0) FROM audit.event_log AS log) AS last`,
  );
  const [seen, last] = [Number(row?.seen ?? 0), Number(row?.last ?? 0)];
  if (seen <= last) return [];
  const detail = `Row ${last + 1} and what follows is missing: the log ends at row ${last}, and a checkpoint in Postgres has seen row ${seen}.`;
  return [{ problem: 'truncated', seq: last + 1, detail }];
}

/** A later verification goes on from a checkpoint, so that nothing but what was signed is believed. */
async function throughOf(
  session: LogSession,
  checkpoint: { readonly seq: number; readonly digest: string } | undefined,
  fileBytes: number,
): Promise<VerifiedThrough> {
  if (checkpoint === undefined) return { row: chainStart, fileBytes };
  const [row] = await readWindow(session, checkpoint.seq - 1, checkpoint.seq);
  return { row: { seq: checkpoint.seq, hash: row?.hash ?? '' }, checkpoint: checkpoint.digest, fileBytes };
}

const silent = () => undefined;
const rest = () => Promise.resolve();
