/** Marks sessions whose time has come and removes blocks whose time is over, with an event each, and forgets what nobody can ask for any more. */
import { appendToOutbox } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { Pool } from 'pg';
import { blockEvent } from '../blocks/block-event.ts';
import { sessionEvent } from '../reporting/events.ts';
import { deleteLapsedBlocks } from '../store/blocks.ts';
import { pruneReservations } from '../store/reservations.ts';
import { endUnheardSessions, expireDueSessions, pruneSessions } from '../store/sessions.ts';

/** Most rows of one transaction, so that nobody waits long behind a sweep. */
const batch = 500;

/** One pass. Answers whether there may be more to do at once. */
export async function sweep(pool: Pool): Promise<boolean> {
  const expired = await inTransaction(pool, async (client) => {
    const sessions = await expireDueSessions(client, batch);
    const events = sessions.map((session) =>
      sessionEvent('session.expired', session, { expires_at: session.expiresAt.toISOString() }),
    );
    await appendToOutbox(client, 'policy', events);
    return sessions.length;
  });
  const lapsed = await inTransaction(pool, async (client) => {
    const blocks = await deleteLapsedBlocks(client, batch);
    const events = blocks.map((block) => blockEvent('block.removed', block, { outcome: 'expired' }));
    await appendToOutbox(client, 'policy', events);
    return blocks.length;
  });
  const unheard = await inTransaction(pool, async (client) => {
    const sessions = await endUnheardSessions(client, batch);
    // Their leases end by it, as when the holder had closed them.
    const events = sessions.map((session) =>
      sessionEvent('session.closed', session, { reason: 'heartbeat lost' }),
    );
    await appendToOutbox(client, 'policy', events);
    return sessions.length;
  });
  const reservations = await pruneReservations(pool, batch);
  const sessions = await pruneSessions(pool, batch);
  return Math.max(expired, unheard, lapsed, reservations, sessions) >= batch;
}
