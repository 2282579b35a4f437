-- The event log: append-only, chained in insert order, partitioned by the time of the event.

CREATE TABLE audit.event_log (
  seq bigint NOT NULL,
  id uuid NOT NULL,
  time timestamptz NOT NULL,
  recorded_at timestamptz(3) NOT NULL,
  event jsonb NOT NULL,
  hash bytea NOT NULL,
  -- Computed from the event, so that no copy of a fact can be changed beside the chain.
  type text GENERATED ALWAYS AS (replace(replace(event ->> 'type', 'dev.mayfly.', ''), '.v1', '')) STORED,
  organization text GENERATED ALWAYS AS (event -> 'data' ->> 'organization') STORED,
  lease_id uuid GENERATED ALWAYS AS ((event -> 'data' ->> 'lease_id')::uuid) STORED,
  session_id uuid GENERATED ALWAYS AS ((event -> 'data' ->> 'session_id')::uuid) STORED,
  agent_id text GENERATED ALWAYS AS (event -> 'data' ->> 'agent_id') STORED,
  trace_id text GENERATED ALWAYS AS (event -> 'data' ->> 'trace_id') STORED,
  -- A partitioned table's key must hold the partition key. The time is the event's own, so the pair is as unique as the id.
  PRIMARY KEY (id, time)
) PARTITION BY RANGE (time);

CREATE INDEX event_log_seq ON audit.event_log (seq);
CREATE INDEX event_log_lease ON audit.event_log (lease_id, type) WHERE lease_id IS NOT NULL;
CREATE INDEX event_log_agent ON audit.event_log (agent_id, seq) WHERE agent_id IS NOT NULL;
CREATE INDEX event_log_session ON audit.event_log (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX event_log_organization ON audit.event_log (organization, seq);
-- Few events have one.
CREATE INDEX event_log_revocation ON audit.event_log ((event -> 'data' ->> 'revocation_id'))
  WHERE event -> 'data' ->> 'revocation_id' IS NOT NULL;
-- A trace is looked for as the lease's own and as that of the request that caused an event. For most events they are the same.
CREATE INDEX event_log_trace ON audit.event_log (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX event_log_event_trace ON audit.event_log ((event -> 'data' ->> 'event_trace_id'))
  WHERE event -> 'data' ->> 'event_trace_id' <> trace_id;

-- For events whose time lies where no month has been prepared.
CREATE TABLE audit.event_log_default PARTITION OF audit.event_log DEFAULT;

COMMENT ON TABLE audit.event_log IS 'Every event and signal, once, in the order of their writing. Read it through the views.';
COMMENT ON COLUMN audit.event_log.seq IS 'Position in the chain: from 1, without gaps';
COMMENT ON COLUMN audit.event_log.id IS 'Id of the CloudEvent (UUIDv7)';
COMMENT ON COLUMN audit.event_log.time IS 'Time of the CloudEvent: when it happened, by the clock of the service that tells of it';
COMMENT ON COLUMN audit.event_log.recorded_at IS 'When the row was written, milliseconds';
COMMENT ON COLUMN audit.event_log.event IS 'The whole CloudEvent';
COMMENT ON COLUMN audit.event_log.hash IS 'SHA-256 over the hash of the row before and the canonical JSON of {event, recorded_at, seq}';
COMMENT ON COLUMN audit.event_log.type IS 'Short type, such as credential.issued';
COMMENT ON COLUMN audit.event_log.organization IS 'data.organization';
COMMENT ON COLUMN audit.event_log.lease_id IS 'data.lease_id';
COMMENT ON COLUMN audit.event_log.session_id IS 'data.session_id';
COMMENT ON COLUMN audit.event_log.agent_id IS 'data.agent_id, a SPIFFE ID';
COMMENT ON COLUMN audit.event_log.trace_id IS 'data.trace_id, the trace of the lease for life';

CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit.refuse_change() IS 'Trigger: the log can only grow. The owner could drop it, which is what the chain and its checkpoints are for.';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit.event_log FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit.event_log FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit.event_log_default FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

-- Makes the partition of a month if it is not there yet. A month of which the default partition holds rows stays there.
-- A month begins in UTC, whatever the session's time zone.
CREATE FUNCTION audit.prepare_month(month date) RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
  first date := date_trunc('month', month)::date;
  name text := 'event_log_' || to_char(first, 'YYYY_MM');
BEGIN
  IF to_regclass('audit.' || quote_ident(name)) IS NOT NULL THEN RETURN; END IF;
  IF EXISTS (SELECT FROM audit.event_log_default WHERE time >= first AND time < first + interval '1 month') THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE audit.%I PARTITION OF audit.event_log FOR VALUES FROM (%L) TO (%L)',
    name, first::timestamptz, (first + interval '1 month')::timestamptz);
  EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit.%I FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', name);
END
$$;
COMMENT ON FUNCTION audit.prepare_month(date) IS 'Makes the partition of the month that a day lies in';

-- Which of these events are there already. One index look-up each, whatever the planner thinks of a table whose statistics are
-- older than most of its rows: a hash join would read the whole log with every batch.
CREATE FUNCTION audit.known_events(ids uuid[], times timestamptz[]) RETURNS SETOF uuid LANGUAGE sql STABLE
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
  SELECT log.id FROM unnest(ids, times) AS given (id, time)
  JOIN audit.event_log AS log ON log.id = given.id AND log.time = given.time
$$;
COMMENT ON FUNCTION audit.known_events(uuid[], timestamptz[]) IS 'Ids of those events that the log has already';
