-- Events of this service, written in the transaction that changes a lease. The same text as outboxTableSql('revocation')
-- of @mayfly/messaging, which publishes from it; a test compares.
create table revocation.outbox (
  sequence   bigint generated always as identity primary key,
  event_id   uuid not null,
  message_id text not null,
  event      text not null,
  created_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE revocation.outbox IS 'Events that are committed and not yet acknowledged by the stream';
COMMENT ON COLUMN revocation.outbox.sequence IS 'Order of publication';
COMMENT ON COLUMN revocation.outbox.event_id IS 'UUIDv7 of the event';
COMMENT ON COLUMN revocation.outbox.message_id IS 'Nats-Msg-Id: the stream drops a second message with the same one';
COMMENT ON COLUMN revocation.outbox.event IS 'The CloudEvent, published byte for byte';
COMMENT ON COLUMN revocation.outbox.created_at IS 'When it was committed, nearly';

CREATE FUNCTION revocation.append_event(event jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO revocation.outbox (event_id, message_id, event) VALUES ((event ->> 'id')::uuid, event ->> 'id', event::text)
$$;

-- RFC 3339 in UTC, milliseconds: how events tell instants.
CREATE FUNCTION revocation.instant(at timestamptz) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
