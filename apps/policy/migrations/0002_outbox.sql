-- Outbox: events written in the transaction that causes them, published by the relay of @mayfly/messaging, which
-- declares this table (`outboxTableSql`).
CREATE TABLE policy.outbox (
  sequence   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  event_id   uuid NOT NULL,
  message_id text NOT NULL,
  event      text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE policy.outbox IS 'Events that are committed but not yet acknowledged by the event stream';
COMMENT ON COLUMN policy.outbox.sequence IS 'Order of publication';
COMMENT ON COLUMN policy.outbox.event_id IS 'id of the event';
COMMENT ON COLUMN policy.outbox.message_id IS 'Nats-Msg-Id: the stream drops a second message with the same one';
COMMENT ON COLUMN policy.outbox.event IS 'The event, published byte for byte';
COMMENT ON COLUMN policy.outbox.created_at IS 'When it was written';
