/** Reads the rows of the log in order, a window of positions at a time, from the table and not from a view. */
import { derivedColumnNames, type DerivedColumn, type Finding, type FoundRow } from '@mayfly/domain';
import type { LogSession } from './log-session.ts';

/** Positions of one window: a few milliseconds of work, so that whatever else a process does waits no longer. */
export const windowSize = 200;

/** More rows than positions means that some are there more than once; so many of those are read and no more. */
const mostInWindow = 3 * windowSize;

const derived = derivedColumnNames.map((name) => `log.${name}`).join(', ');

const rowsOfWindow = `
  SELECT log.tableoid::regclass::text AS partition, log.seq, log.id, log.time, log.recorded_at, log.event, encode(log.hash, 'hex') AS hash, ${derived}
  FROM audit.event_log AS log WHERE log.seq > $1::int8 AND log.seq <= $2::int8 ORDER BY log.seq LIMIT ${mostInWindow}`;

type Column = 'partition' | 'seq' | 'id' | 'time' | 'recorded_at' | 'event' | 'hash' | DerivedColumn;

/** A row, and the partition that it lies in, as `audit.event_log_2030_01`. */
export type StoredRow = FoundRow & { readonly partition: string };

/** Rows with a position after `after` and not after `last`. */
export async function readWindow(session: LogSession, after: number, last: number): Promise<StoredRow[]> {
  const rows = await session.rows<Column>(rowsOfWindow, [after, last]);
  return rows.map((row) => ({
    partition: row.partition ?? '',
    seq: Number(row.seq),
    id: row.id,
    time: row.time,
    recordedAt: row.recorded_at,
    event: row.event,
    hash: row.hash,
    derived: Object.fromEntries(derivedColumnNames.map((name) => [name, row[name]])) as Record<
      DerivedColumn,
      string | null
    >,
  }));
}

/** Names of the partitions, as a row tells them. */
export async function readPartitions(session: LogSession): Promise<ReadonlySet<string>> {
  const rows = await session.rows<'name'>(
    `SELECT i.inhrelid::regclass::text AS name FROM pg_inherits AS i WHERE i.inhparent = 'audit.event_log'::regclass`,
  );
  return new Set(rows.flatMap(({ name }) => name ?? []));
}

/**
 * A row in another partition than that of its month is passed over by queries that ask for its time. In the default partition lie those
 * of months that have none.
 */
export function misplaced(
  { seq, id, time, partition }: StoredRow,
  partitions: ReadonlySet<string>,
): Finding[] {
  const own = `audit.event_log_${(time ?? '').slice(0, 7).replace('-', '_')}`;
  const right = partitions.has(own) ? own : 'audit.event_log_default';
  if (partition === right) return [];
  const detail = `Row ${seq} lies in the partition ${partition} and belongs into ${right}: queries that ask for its time miss it.`;
  return [{ problem: 'hidden', seq, ...(id !== null && { id }), object: `table ${partition}`, detail }];
}

/** The first position after `after` and not after `last` that is taken; undefined when none is. */
export async function nextTaken(
  session: LogSession,
  after: number,
  last: number,
): Promise<number | undefined> {
  const [row] = await session.rows<'seq'>(
    'SELECT min(log.seq) AS seq FROM audit.event_log AS log WHERE log.seq > $1::int8 AND log.seq <= $2::int8',
    [after, last],
  );
  const seq = row?.seq ?? undefined;
  return seq === undefined ? undefined : Number(seq);
}

/** Where the log says that it ends, with what it says of that row, and where it does end, at one moment. */
export interface LogEnd {
  /** Rows of `chain_head`; there is to be one. */
  readonly heads: readonly { readonly seq: number; readonly hash: string | null }[];
  /** The highest position that a row has; 0 when there is none. */
  readonly last: number;
}

/** One statement, so that a batch that is being written is in both answers or in neither. */
export async function readEnd(session: LogSession): Promise<LogEnd> {
  const rows = await session.rows<'seq' | 'hash' | 'last'>(
    `SELECT head.seq, encode(head.hash, 'hex') AS hash, log.last
     FROM (SELECT coalesce(max(seq), 0) AS last FROM audit.event_log) AS log LEFT JOIN audit.chain_head AS head ON true LIMIT 10`,
  );
  return {
    heads: rows.flatMap(({ seq, hash }) => (seq === null ? [] : [{ seq: Number(seq), hash }])),
    last: Number(rows[0]?.last ?? 0),
  };
}
