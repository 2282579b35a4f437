/**
 * Verification of the audit log (I8): recomputes the chain row by row and holds it against signed checkpoints. Names the first
 * row at which what is there differs from what was written.
 */
import { chainHash, genesisHash, type ChainedRow } from './chain.ts';

/** A row as it is found, with the hash that stands beside it. */
export interface FoundRow extends ChainedRow {
  /** Columns that repeat what the event says; they are held against it. */
  readonly id: string;
  readonly time: Date;
  readonly hash: Uint8Array;
}

/** A checkpoint whose signature has been verified. */
export interface VerifiedCheckpoint {
  readonly seq: number;
  /** Hex. */
  readonly hash: string;
  /** For messages: `Postgres` or the file. */
  readonly source: string;
}

export type Verification =
  | { readonly outcome: 'intact'; readonly rows: number; readonly checkpoints: number; readonly head: string }
  | {
      readonly outcome: 'broken';
      /** Where: the first bad row, or the position at which one is missing. */
      readonly seq: number;
      readonly id?: string;
      readonly problem: 'changed' | 'missing' | 'repeated' | 'truncated' | 'rewritten';
      /** One sentence for people. */
      readonly detail: string;
    };

/**
 * @param rows in order of `seq`.
 * @param checkpoints in any order.
 * @param end where the log says that it ends; rows cut off since the last checkpoint show by it.
 * @param onProgress called with the number of rows that were fine, now and then.
 */
export async function verifyChain(
  rows: AsyncIterable<FoundRow>,
  checkpoints: readonly VerifiedCheckpoint[],
  end: number,
  onProgress: (rows: number) => void = () => undefined,
): Promise<Verification> {
  const bySeq = new Map<number, VerifiedCheckpoint[]>();
  for (const checkpoint of checkpoints)
    bySeq.set(checkpoint.seq, [...(bySeq.get(checkpoint.seq) ?? []), checkpoint]);
  let previous = genesisHash;
  let seq = 0;
  for await (const row of rows) {
    const broken = examine(row, seq, previous, bySeq.get(row.seq) ?? []);
    if (broken !== undefined) return broken;
    previous = row.hash;
    seq = row.seq;
    if (seq % 10_000 === 0) onProgress(seq);
  }
  const beyond = checkpoints.filter((checkpoint) => checkpoint.seq > seq).sort((a, b) => a.seq - b.seq)[0];
  if (beyond !== undefined || end !== seq) {
    const witness =
      beyond === undefined
        ? `it says that it ends at row ${end}`
        : `a checkpoint in ${beyond.source} has seen row ${beyond.seq}`;
    return {
      outcome: 'broken',
      seq: seq + 1,
      problem: 'truncated',
      detail: `Row ${seq + 1} and what follows is missing: the log ends at row ${seq}, and ${witness}.`,
    };
  }
  return { outcome: 'intact', rows: seq, checkpoints: checkpoints.length, head: hex(previous) };
}

function examine(
  row: FoundRow,
  before: number,
  previous: Uint8Array,
  checkpoints: readonly VerifiedCheckpoint[],
): Verification | undefined {
  if (row.seq > before + 1) {
    return {
      outcome: 'broken',
      seq: before + 1,
      problem: 'missing',
      detail: `Row ${before + 1} is missing: after row ${before} comes row ${row.seq}.`,
    };
  }
  if (row.seq <= before) {
    return {
      outcome: 'broken',
      seq: row.seq,
      id: row.id,
      problem: 'repeated',
      detail: `Row ${row.seq} is there more than once.`,
    };
  }
  if (hex(chainHash(previous, row)) !== hex(row.hash) || !repeatsItsEvent(row)) {
    return {
      outcome: 'broken',
      seq: row.seq,
      id: row.id,
      problem: 'changed',
      detail: `Row ${row.seq} (event ${row.id}) is not what was written there, or stands in another's place.`,
    };
  }
  const contradicting = checkpoints.find(({ hash }) => hash !== hex(row.hash));
  if (contradicting === undefined) return undefined;
  return {
    outcome: 'broken',
    seq: row.seq,
    id: row.id,
    problem: 'rewritten',
    detail: `Row ${row.seq} or one before it was rewritten together with its hashes: a checkpoint in ${contradicting.source} says otherwise.`,
  };
}

function repeatsItsEvent({ id, time, event }: FoundRow): boolean {
  if (typeof event !== 'object' || event === null || !('id' in event) || !('time' in event)) return false;
  return event.id === id && typeof event.time === 'string' && Date.parse(event.time) === time.getTime();
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
