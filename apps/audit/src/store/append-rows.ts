/** Writes rows to the end of the chain, in one transaction that no other replica's can overlap. */
import { chainHash } from '@mayfly/domain';
import type { MayflyEvent } from '@mayfly/contracts';
import type { ClientBase } from 'pg';

const lockHead = `SELECT seq::int8 AS seq, hash FROM audit.chain_head FOR UPDATE`;

/** Which of these events are there already. The time is part of the key, so each look-up stays within one partition. */
const findKnown = `SELECT id FROM audit.known_events($1::uuid[], $2::timestamptz[]) AS id`;

const insertRows = `
  INSERT INTO audit.event_log (seq, id, time, recorded_at, event, hash)
  SELECT row.seq, row.id, row.time, $1, row.event, decode(row.hash, 'hex')
  FROM unnest($2::bigint[], $3::uuid[], $4::timestamptz[], $5::jsonb[], $6::text[]) AS row (seq, id, time, event, hash)`;

const moveHead = `UPDATE audit.chain_head SET seq = $1, hash = $2`;

/**
 * Appends the events that are not there yet and answers with how many that were. Call it within a transaction: the head
 * stays locked until its end, which is what keeps the chain one chain.
 */
export async function appendRows(
  client: ClientBase,
  events: readonly MayflyEvent[],
  now: Date,
): Promise<number> {
  const head = (await client.query<{ seq: string; hash: Buffer }>({ name: 'lock-head', text: lockHead }))
    .rows[0];
  if (head === undefined) throw new Error('the chain has no head');
  const fresh = await withoutKnown(client, events);
  if (fresh.length === 0) return 0;
  let seq = Number(head.seq);
  let previous = head.hash;
  const hashes: string[] = [];
  const positions: number[] = [];
  for (const event of fresh) {
    seq += 1;
    previous = chainHash(previous, { seq, recordedAt: now, event });
    positions.push(seq);
    hashes.push(previous.toString('hex'));
  }
  await client.query({
    name: 'insert-rows',
    text: insertRows,
    values: [
      now,
      positions,
      fresh.map(({ id }) => id),
      fresh.map(({ time }) => time),
      fresh.map((event) => JSON.stringify(event)),
      hashes,
    ],
  });
  await client.query({ name: 'move-head', text: moveHead, values: [seq, previous] });
  return fresh.length;
}

/** In order, each id once, without those of earlier batches. */
async function withoutKnown(client: ClientBase, events: readonly MayflyEvent[]): Promise<MayflyEvent[]> {
  const unique = new Map(events.map((event) => [event.id, event]));
  const { rows } = await client.query<{ id: string }>({
    name: 'find-known',
    text: findKnown,
    values: [[...unique.keys()], [...unique.values()].map(({ time }) => time)],
  });
  for (const { id } of rows) unique.delete(id);
  return [...unique.values()];
}
