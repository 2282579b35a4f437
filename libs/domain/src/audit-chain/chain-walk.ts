/**
 * Verification of the rows of the audit log (I8): recomputes each hash, and each column that queries read, from the event's text. Goes
 * on after a bad row, by the hash that stands beside it, so that every bad row is named and not just the first.
 */
import { chainHash, genesisHash } from './chain.ts';
import { derivedColumnNames, derivedColumns, type DerivedColumn } from './derived-columns.ts';
import type { Difference, Finding } from './finding.ts';
import { microsecondsOf } from './instants.ts';
import { hasWrittenNumbers } from './stored-text.ts';

/** A row as it is found: every value as Postgres prints it, in UTC with DateStyle ISO. */
export interface FoundRow {
  readonly seq: number;
  readonly id: string | null;
  readonly time: string | null;
  readonly recordedAt: string | null;
  /** The text of the `jsonb`. */
  readonly event: string | null;
  /** Hex. */
  readonly hash: string | null;
  readonly derived: Readonly<Record<DerivedColumn, string | null>>;
}

/** A place in the chain. */
export interface ChainPosition {
  readonly seq: number;
  /** Hex. */
  readonly hash: string;
}

/** Before the first row. */
export const chainStart: ChainPosition = { seq: 0, hash: Buffer.from(genesisHash).toString('hex') };

export class ChainWalk {
  #seq: number;
  /** Undefined after a gap: what the hash of the next row was made over is not there. */
  #hash: string | undefined;

  /** @param from where an earlier walk has ended. */
  constructor(from: ChainPosition = chainStart) {
    this.#seq = from.seq;
    this.#hash = from.hash;
  }

  /** The last position that was taken. */
  get seq(): number {
    return this.#seq;
  }

  /** The hash that stands there; undefined when it can't be read. */
  get hash(): string | undefined {
    return this.#hash;
  }

  /** Takes the next row, in order of `seq`, and answers with what is wrong with it or before it. */
  take(row: FoundRow): Finding[] {
    if (row.seq <= this.#seq) return [repeated(row)];
    const findings: Finding[] = [];
    if (row.seq > this.#seq + 1) {
      findings.push(gap(this.#seq, row.seq));
      this.#hash = undefined;
    }
    const differences = [...this.#differencesOf(row)];
    if (differences.length > 0) findings.push(changed(row, differences));
    this.#seq = row.seq;
    this.#hash = row.hash ?? undefined;
    return findings;
  }

  *#differencesOf(row: FoundRow): Generator<Difference> {
    const event = parse(row.event);
    if (row.event === null || event === undefined) {
      yield { property: 'event', expected: 'a CloudEvent', found: row.event };
      return;
    }
    if (!hasWrittenNumbers(row.event)) {
      yield { property: 'event', expected: 'numbers as they were written', found: row.event };
    }
    const recorded = microsecondsOf(row.recordedAt ?? '');
    if (recorded === undefined || recorded % 1000n !== 0n) {
      yield { property: 'recorded_at', expected: 'whole milliseconds', found: row.recordedAt };
    } else if (this.#hash !== undefined) {
      const expected = hashOf(this.#hash, row.seq, recorded, event);
      if (expected !== row.hash) yield { property: 'hash', expected, found: row.hash };
    }
    yield* columnDifferences(row, event);
  }
}

/** The columns that repeat what the event says, held against it. */
function* columnDifferences(row: FoundRow, event: unknown): Generator<Difference> {
  const { id, time } = Object(event) as { id?: unknown; time?: unknown };
  const said = {
    id: typeof id === 'string' ? id.toLowerCase() : null,
    time: typeof time === 'string' ? time : null,
  };
  if (said.id === null || said.id !== row.id) yield { property: 'id', expected: said.id, found: row.id };
  const instant = microsecondsOf(said.time ?? '');
  if (instant === undefined || instant !== microsecondsOf(row.time ?? '')) {
    yield { property: 'time', expected: said.time, found: row.time };
  }
  for (const column of derivedColumnNames) {
    const expected = derivedColumns[column](event);
    const found = row.derived[column];
    if (expected !== found) yield { property: column, expected, found };
  }
}

function hashOf(previous: string, seq: number, recorded: bigint, event: unknown): string {
  const recordedAt = new Date(Number(recorded / 1000n));
  return chainHash(Buffer.from(previous, 'hex'), { seq, recordedAt, event }).toString('hex');
}

function parse(text: string | null): unknown {
  try {
    return text === null ? undefined : (JSON.parse(text) as unknown);
  } catch {
    return undefined;
  }
}

function repeated({ seq, id }: FoundRow): Finding {
  return { problem: 'repeated', seq, ...named(id), detail: `Row ${seq} is there more than once.` };
}

function gap(before: number, after: number): Finding {
  const [first, last] = [before + 1, after - 1];
  const what = first === last ? `Row ${first} is missing` : `Rows ${first} to ${last} are missing`;
  return {
    problem: 'missing',
    seq: first,
    detail: `${what}: after row ${before} comes row ${after}.`,
  };
}

function changed({ seq, id }: FoundRow, differences: readonly Difference[]): Finding {
  const columns = differences.map(({ property }) => property).join(', ');
  const how = columns === 'hash' ? 'its hash does not fit it and the row before' : `wrong are: ${columns}`;
  return {
    problem: 'changed',
    seq,
    ...named(id),
    detail: `Row ${seq} (event ${id ?? 'without an id'}) is not what was written there, or stands in another's place: ${how}.`,
    differences,
  };
}

function named(id: string | null): { id?: string } {
  return id === null ? {} : { id };
}
