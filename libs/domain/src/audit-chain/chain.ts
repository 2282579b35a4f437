/** The chain of the audit log: each row's hash covers the row and the hash of the one before it. */
import { createHash } from 'node:crypto';
import { canonicalJson } from './canonical-json.ts';

/** What a hash covers beside the hash before it. */
export interface ChainedRow {
  /** Position in the chain, from 1, without gaps, in insert order. */
  readonly seq: number;
  /** When the row was written; milliseconds. */
  readonly recordedAt: Date;
  /** The whole CloudEvent. */
  readonly event: unknown;
}

/** What stands before row 1: 32 zero bytes. */
export const genesisHash: Uint8Array = new Uint8Array(32);

/** SHA-256 over the hash before and the canonical JSON of the row. */
export function chainHash(previous: Uint8Array, { seq, recordedAt, event }: ChainedRow): Buffer {
  return chainHashOfText(previous, { seq, recordedAt, event: canonicalJson(event) });
}

/** The same, for an event that is canonical JSON already: so that a writer has little to do while it holds the chain. */
export function chainHashOfText(
  previous: Uint8Array,
  { seq, recordedAt, event }: ChainedRow & { readonly event: string },
): Buffer {
  const row = `{"event":${event},"recorded_at":"${recordedAt.toISOString()}","seq":${seq}}`;
  return createHash('sha256').update(previous).update(row).digest();
}
