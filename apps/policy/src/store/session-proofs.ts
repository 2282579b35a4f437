/** By what proof platform administrators were admitted, kept with their sessions. Never the token itself. */
import type { JwksSource } from '@mayfly/configuration';
import { rowsOf, type Database } from './statement.ts';

export interface Proof {
  /** As they were verified. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** Header of the token (RFC 7515 §4.1.1, §4.1.4). */
  readonly key: { readonly alg: string; readonly kid?: string };
  /** Where the key was found. */
  readonly jwks: JwksSource;
}

/** Part of the transaction that opens the session. */
export async function keepProof(database: Database, sessionId: string, proof: Proof): Promise<void> {
  await rowsOf(database, {
    name: 'keep-session-proof',
    text: 'UPDATE policy.sessions SET proof = $2 WHERE id = $1',
    values: [sessionId, storable(JSON.stringify(proof))],
  });
}

/** Undefined for a session of whom none was kept: of other roles, or opened by an earlier release. */
export async function findProof(database: Database, sessionId: string): Promise<Proof | undefined> {
  const [row] = await rowsOf<{ proof: Proof | null }>(database, {
    name: 'find-session-proof',
    text: 'SELECT proof FROM policy.sessions WHERE id = $1',
    values: [sessionId],
  });
  return row?.proof ?? undefined;
}

/** An issuer's claim may hold what jsonb can't (NUL, half of a surrogate pair): U+FFFD stands for it, and no rule asks for that. */
function storable(json: string): string {
  return json.replace(/(?<!\\)((?:\\\\)*)\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})/g, '$1\\ufffd');
}
