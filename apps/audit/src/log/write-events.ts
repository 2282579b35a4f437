/** From deliveries of both streams into the chained log: exactly once by event id, whatever is delivered again. */
import { PoisonMessage } from '@mayfly/messaging';
import { inTransaction } from '@mayfly/postgres';
import { failpoint } from '@mayfly/service';
import type { MayflyEvent } from '@mayfly/contracts';
import pg, { type Pool } from 'pg';
import { appendRows, prepareEvent } from '../store/append-rows.ts';

/** SQLSTATE class 22 (data exception), such as a `\u0000` that jsonb refuses: trying again changes nothing. */
const dataException = '22';

export class WriteEvents {
  constructor(private readonly pool: Pool) {}

  /** Throws PoisonMessage when an event can't be stored at all; with several events, each is then tried alone. */
  async execute(events: readonly MayflyEvent[]): Promise<void> {
    const prepared = events.map(prepareEvent);
    try {
      failpoint('audit.insert.before');
      await inTransaction(this.pool, (client) => appendRows(client, prepared, new Date()));
      failpoint('audit.insert.committed');
    } catch (error) {
      if (error instanceof pg.DatabaseError && error.code?.startsWith(dataException) === true) {
        throw new PoisonMessage('Postgres can not store it', { cause: error });
      }
      throw error;
    }
  }
}
