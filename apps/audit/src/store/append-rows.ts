/** Writes rows to the end of the chain, in one transaction that no other replica's can overlap. */
import { canonicalJson, chainHashOfText } from '@mayfly/domain';
import type { MayflyEvent } from '@mayfly/contracts';
import type { ClientBase } from 'pg';

const lockHead = `SELECT seq::int8 AS seq, hash FROM audit.chain_head FOR UPDATE`;

/** Which of these events are there already. The time is part of the key, so each look-up stays within one partition. */
const findKnown = `SELECT id FROM audit.known_events($1::uuid[], $2::timestamptz[]) AS id`;

const insertRows = `
  INSERT INTO audit.event_log (seq, id, time, recorded_at, event, hash)
  SELECT $2 + row.n, row.id, row.time, $1, row.event, decode(row.hash, 'hex')
  FROM ROWS FROM (unnest($3::uuid[]), unnest($4::timestamptz[]), unnest($5::text[]), jsonb_array_elements($6::jsonb))
       WITH ORDINALITY AS row (id, time, hash, event, n)`;

const moveHead = `UPDATE audit.chain_head SET seq = $1, hash = $2`;

/** An event, with what is worked out before the chain is locked. */
export interface PreparedEvent {
  readonly id: string;
  readonly time: string;
  /** Canonical JSON: what is hashed, and what is stored. */
  readonly text: string;
}

export function prepareEvent(event: MayflyEvent): PreparedEvent {
  return { id: event.id, time: event.time, text: canonicalJson(event) };
}

/**
 * Appends the events that are not there yet and answers with how many that were. Call it within a transaction: the head
 * stays locked until its end, which is what keeps the chain one chain.
 */
export async function appendRows(
  client: ClientBase,
  events: readonly PreparedEvent[],
  now: Date,
): Promise<number> {
  const head = (await client.query<{ seq: string; hash: Buffer }>({ name: 'lock-head', text: lockHead }))
    .rows[0];
  if (head === undefined) throw new Error('the chain has no head');
  const fresh = await withoutKnown(client, events);
  if (fresh.length === 0) return 0;
  const end = Number(head.seq);
  let previous = head.hash;
  const hashes = fresh.map(({ text }, index) => {
    previous = chainHashOfText(previous, { seq: end + index + 1, recordedAt: now, event: text });
    return previous.toString('hex');
  });
  await client.query({
    name: 'insert-rows',
    text: insertRows,
    values: [
      now,
      end,
      arrayOf(fresh.map(({ id }) => id)),
      arrayOf(fresh.map(({ time }) => time)),
      arrayOf(hashes),
      // They are JSON already: one text of all is much less work than a quoted one of each.
      `[${fresh.map(({ text }) => text).join(',')}]`,
    ],
  });
  await client.query({ name: 'move-head', text: moveHead, values: [end + fresh.length, previous] });
  return fresh.length;
}

/** In order, each id once, without those of earlier batches. */
async function withoutKnown(client: ClientBase, events: readonly PreparedEvent[]): Promise<PreparedEvent[]> {
  const unique = new Map(events.map((event) => [event.id, event]));
  const { rows } = await client.query<{ id: string }>({
    name: 'find-known',
    text: findKnown,
    values: [arrayOf([...unique.keys()]), arrayOf([...unique.values()].map(({ time }) => time))],
  });
  for (const { id } of rows) unique.delete(id);
  return [...unique.values()];
}

/** A Postgres array of what needs no quoting: UUIDs, ISO 8601 instants, hexadecimal digits. */
function arrayOf(plain: readonly string[]): string {
  return `{${plain.join(',')}}`;
}
