/** For acts of an administrator: the session that asks must still live when what it asked for commits, not only when it asked. */
import type { PoolClient } from 'pg';
import { holdSessions } from '../store/session-ends.ts';
import { sessionEnded } from './session-gate.ts';
import type { Session } from './session.ts';

/**
 * Until the end of the transaction nobody ends this session, nor those of `also`. To be called after what locks openings and before
 * what locks other rows. Throws `unauthenticated` when it has ended meanwhile, however long ago it was looked at.
 */
export async function holdSession(
  client: PoolClient,
  session: Pick<Session, 'id'>,
  also: readonly string[] = [],
): Promise<void> {
  const live = await holdSessions(client, [session.id, ...also]);
  if (!live.has(session.id)) throw sessionEnded();
}
