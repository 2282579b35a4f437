/**
 * The outbox: a service writes its events in the transaction that changes its tables, and `OutboxRelay` publishes them. So
 * there is never a change without its event, nor an event without its change.
 */
import { MayflyError, MayflyEvent } from '@mayfly/contracts';
import type { ClientBase } from 'pg';
import { describeIssues } from '../rpc/wire.ts';

/** The client whose transaction the events belong to. */
export type OutboxClient = Pick<ClientBase, 'query'>;

/**
 * DDL of `<schema>.outbox`, for the service's migration. `event` is text, not jsonb: it is published byte for byte and never
 * searched. The table is nearly empty but churns, so it is vacuumed by count, not by share.
 */
export function outboxTableSql(schema: string): string {
  return `create table ${outboxTable(schema)} (
  sequence   bigint generated always as identity primary key,
  event_id   uuid not null,
  message_id text not null,
  event      text not null,
  created_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)`;
}

/** `<schema>.outbox`. Throws for a schema that would need quoting. */
export function outboxTable(schema: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) throw new Error(`not a schema name: ${schema}`);
  return `${schema}.outbox`;
}

/**
 * Adds events in order, in the transaction that `client` has open. `Nats-Msg-Id` will be each event's id.
 *
 * Throws `internal` for an event that does not fit its contract, and so undoes the transaction: no such event gets as far as the
 * relay.
 */
export async function appendToOutbox(
  client: OutboxClient,
  schema: string,
  events: readonly MayflyEvent[],
): Promise<void> {
  if (events.length === 0) return;
  for (const event of events) {
    const parsed = MayflyEvent.safeParse(event);
    if (!parsed.success) {
      throw new MayflyError('internal', 'internal error', {
        cause: new Error(`event does not fit its contract: ${describeIssues(parsed.error)}`),
      });
    }
  }
  await client.query(
    `insert into ${outboxTable(schema)} (event_id, message_id, event)
     select id, id::text, event from unnest($1::uuid[], $2::text[]) with ordinality as e (id, event, place)
     order by place`,
    [events.map((event) => event.id), events.map((event) => JSON.stringify(event))],
  );
}
