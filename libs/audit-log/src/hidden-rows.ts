/**
 * Whether the table has rows that the chain does not, and whether each index leads to all rows and in its order. A query reads by
 * whichever index the planner likes, so one that lacks entries, or has them where nobody looks, hides rows that are all there.
 */
import type { Finding } from '@mayfly/domain';
import type { LogSession } from './log-session.ts';

interface IndexToRead {
  readonly name: string;
  readonly keys: readonly string[];
  readonly where: string | null;
}

const indexesOf = `
  SELECT x.indexrelid::regclass::text AS name, pg_get_expr(x.indpred, x.indrelid) AS where,
         (SELECT string_agg(pg_get_indexdef(x.indexrelid, key.n::int, true), E'\\x01' ORDER BY key.n)
          FROM generate_series(1, x.indnkeyatts) AS key(n)) AS keys
  FROM pg_index AS x WHERE x.indrelid = $1::regclass ORDER BY x.indexrelid`;

/** Reads rows and not an index; and the other way round, with the keys of the rows that the index leads to and not its own. */
const byRows = {
  enable_seqscan: 'on',
  enable_indexscan: 'off',
  enable_indexonlyscan: 'off',
  enable_bitmapscan: 'off',
};
const byIndex = {
  enable_seqscan: 'off',
  enable_bitmapscan: 'off',
  enable_sort: 'off',
  enable_incremental_sort: 'off',
  enable_indexscan: 'on',
  enable_indexonlyscan: 'off',
};

/** @param onIndex called before each index is read, with its name. */
export async function findHidden(session: LogSession, onIndex: (name: string) => void): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const table of ['audit.event_log', 'audit.checkpoint']) {
    for (const index of await readIndexes(session, table)) {
      onIndex(index.name);
      findings.push(...(await session.atOneMoment(() => compare(session, table, index))));
    }
  }
  return [...(await session.atOneMoment(() => countRows(session))), ...findings];
}

/** By the table itself: rows at positions that there are none of, or twice at one, which no look-up by position would meet. */
async function countRows(session: LogSession): Promise<Finding[]> {
  await set(session, byRows);
  const [row] = await session.rows<'rows' | 'last' | 'strays'>(
    `SELECT count(*) AS rows, coalesce(max(log.seq), 0) AS last, count(*) FILTER (WHERE log.seq < 1 OR log.seq IS NULL) AS strays
     FROM audit.event_log AS log`,
  );
  const [rows, last, strays] = [Number(row?.rows), Number(row?.last), Number(row?.strays)];
  if (rows === last && strays === 0) return [];
  const detail = `The log has ${rows} rows and ends at row ${last}; ${strays} of them are at no position of the chain, where queries find them and the chain does not.`;
  return [{ problem: 'hidden', object: 'table audit.event_log', detail }];
}

async function compare(session: LogSession, table: string, index: IndexToRead): Promise<Finding[]> {
  await set(session, byRows);
  const there = await digest(session, table, index, false);
  await set(session, byIndex);
  const led = await digest(session, table, index, true);
  if (there.rows === led.rows && there.sum === led.sum && led.misplaced === '0') return [];
  const detail =
    there.rows === led.rows && there.sum === led.sum
      ? `The index ${index.name} has ${led.misplaced} entries out of order: queries that use it miss rows.`
      : `The index ${index.name} leads to ${led.rows} rows of ${there.rows}, or to others: queries that use it miss rows. REINDEX mends it; find out who broke it.`;
  return [{ problem: 'hidden', object: `index ${index.name}`, detail }];
}

async function readIndexes(session: LogSession, table: string): Promise<IndexToRead[]> {
  const rows = await session.rows<'name' | 'where' | 'keys'>(indexesOf, [table]);
  return rows.map(({ name, where, keys }) => ({
    name: name ?? '',
    where,
    keys: (keys ?? '').split('\u0001'),
  }));
}

/** How many rows, a sum over what their keys are, and how many keys are less than the one before. */
async function digest(session: LogSession, table: string, index: IndexToRead, ordered: boolean) {
  const names = index.keys.map((_key, n) => `k${n}`);
  const selected = index.keys.map((key, n) => `(${key}) AS k${n}`).join(', ');
  const where = index.where === null ? '' : `WHERE ${index.where}`;
  const order = ordered ? `ORDER BY ${index.keys.map((key) => `(${key})`).join(', ')}` : '';
  const before = names.map((name) => `lag(${name}) OVER () AS b${name}`).join(', ');
  const misplaced = ordered
    ? `count(*) FILTER (WHERE ROW(${names.map((name) => `b${name}`).join(', ')}) > ROW(${names.join(', ')}))`
    : '0';
  const inner = `SELECT ${selected} FROM ${table} ${where} ${order}`;
  const source = ordered ? `SELECT ${names.join(', ')}, ${before} FROM (${inner}) AS o` : inner;
  const [row] = await session.rows<'rows' | 'sum' | 'misplaced'>(
    `SELECT count(*) AS rows, coalesce(sum(hashtextextended(ROW(${names.join(', ')})::text, 0)), 0) AS sum, ${misplaced} AS misplaced
     FROM (${source}) AS keys`,
  );
  return row ?? { rows: null, sum: null, misplaced: null };
}

async function set(session: LogSession, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(settings)) {
    await session.rows(`SELECT set_config($1::text, $2::text, true)`, [name, value]);
  }
}
