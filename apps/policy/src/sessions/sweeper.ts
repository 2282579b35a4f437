/** Marks sessions whose time has come and removes blocks whose time is over, with an event each, and forgets what nobody can ask for any more. */
import { appendToOutbox } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import type { Pool } from 'pg';
import { blockEvent } from '../blocks/block-event.ts';
import { sessionEvent } from '../reporting/events.ts';
import { deleteLapsedBlocks } from '../store/blocks.ts';
import { pruneReservations } from '../store/reservations.ts';
import { endUnheardSessions, expireDueSessions, pruneSessions } from '../store/sessions.ts';
import type { Hearing } from './hearing.ts';
import type { SessionLeases } from './session-leases.ts';

/** Most rows of one transaction, so that nobody waits long behind a sweep. */
const batch = 500;

export interface SweeperParts {
  readonly pool: Pool;
  readonly hearing: Hearing;
  /** Whether the bus can be heard at this moment. */
  readonly isConnected: () => boolean;
  readonly leases: Pick<SessionLeases, 'end'>;
}

export class Sweeper {
  constructor(private readonly parts: SweeperParts) {}

  /** One pass. Answers whether there may be more to do at once. Throws `dependency_unavailable`. */
  async sweep(): Promise<boolean> {
    const { hearing, isConnected } = this.parts;
    if (isConnected()) hearing.works(performance.now());
    else hearing.isLost(performance.now());
    try {
      return await this.#sweep();
    } catch (error) {
      // Without Postgres nobody is heard.
      hearing.isLost(performance.now());
      throw error;
    }
  }

  async #sweep(): Promise<boolean> {
    const { pool } = this.parts;
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
    const unheard = await this.#endUnheard();
    const reservations = await pruneReservations(pool, batch);
    const sessions = await pruneSessions(pool, batch);
    return Math.max(expired, unheard, lapsed, reservations, sessions) >= batch;
  }

  /** Their leases end by it, as when the holder had closed them: at once, and by the event in case that fails. */
  async #endUnheard(): Promise<number> {
    const { pool, hearing, leases } = this.parts;
    const ended = await inTransaction(pool, async (client) => {
      const sessions = await endUnheardSessions(client, batch, hearing.secondsAt(performance.now()));
      const events = sessions.map((session) =>
        sessionEvent('session.closed', session, { reason: 'heartbeat lost' }),
      );
      await appendToOutbox(client, 'policy', events);
      return sessions;
    });
    await leases.end(ended);
    return ended.length;
  }
}
