-- A trace is looked for as the lease's own and as that of the request that caused an event. For most events they are the same.
CREATE INDEX event_log_event_trace ON audit.event_log ((event -> 'data' ->> 'event_trace_id'))
  WHERE event -> 'data' ->> 'event_trace_id' <> trace_id;
