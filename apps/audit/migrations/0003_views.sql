-- What auditors read: the views of this file and of those that follow. The role mayfly_auditor may SELECT from these and from
-- nothing else.

CREATE VIEW audit.events AS
SELECT
  seq, id, time, recorded_at, type, organization, lease_id, session_id, agent_id,
  event -> 'data' ->> 'agent_role' AS agent_role,
  event -> 'data' ->> 'user' AS "user",
  event -> 'data' ->> 'task' AS task,
  event -> 'data' ->> 'credential' AS credential,
  event -> 'data' ->> 'outcome' AS outcome,
  event -> 'data' ->> 'reason' AS reason,
  event -> 'data' ->> 'source_ip' AS source_ip,
  trace_id,
  event -> 'data' ->> 'event_trace_id' AS event_trace_id,
  event -> 'data' AS data,
  event,
  hash
FROM audit.event_log;

COMMENT ON VIEW audit.events IS 'Every event and signal, once';
COMMENT ON COLUMN audit.events.seq IS 'Position in the chain: from 1, without gaps, in the order of writing';
COMMENT ON COLUMN audit.events.id IS 'Id of the event (UUIDv7)';
COMMENT ON COLUMN audit.events.time IS 'When it happened, by the clock of the service that tells of it';
COMMENT ON COLUMN audit.events.recorded_at IS 'When it was written here';
COMMENT ON COLUMN audit.events.type IS 'Such as credential.issued or request.denied';
COMMENT ON COLUMN audit.events.organization IS 'The organization it belongs to; null where none could be established';
COMMENT ON COLUMN audit.events.lease_id IS 'The lease it is about';
COMMENT ON COLUMN audit.events.session_id IS 'The session it is about';
COMMENT ON COLUMN audit.events.agent_id IS 'SPIFFE ID of the agent or person';
COMMENT ON COLUMN audit.events.agent_role IS 'Role of the agent, from verified claims';
COMMENT ON COLUMN audit.events."user" IS 'The human on whose behalf the agent acts';
COMMENT ON COLUMN audit.events.task IS 'The task of the agent, from verified claims';
COMMENT ON COLUMN audit.events.credential IS 'The credential asked for';
COMMENT ON COLUMN audit.events.outcome IS 'How it went, in a word';
COMMENT ON COLUMN audit.events.reason IS 'The full why; the asker may have seen less';
COMMENT ON COLUMN audit.events.source_ip IS 'Address of the asker as the gateway saw it';
COMMENT ON COLUMN audit.events.trace_id IS 'The trace of the lease for life; find it in Jaeger';
COMMENT ON COLUMN audit.events.event_trace_id IS 'The trace of the request that caused this event';
COMMENT ON COLUMN audit.events.data IS 'Everything the event tells';
COMMENT ON COLUMN audit.events.event IS 'The whole CloudEvent, as the chain covers it';
COMMENT ON COLUMN audit.events.hash IS 'SHA-256 over the hash of the row before and the canonical JSON of {event, recorded_at, seq}';

CREATE VIEW audit.denials AS
SELECT
  seq, time, type, organization, session_id, agent_id,
  event -> 'data' ->> 'agent_role' AS agent_role,
  event -> 'data' ->> 'user' AS "user",
  event -> 'data' ->> 'credential' AS credential,
  event -> 'data' -> 'scope' AS scope,
  event -> 'data' ->> 'outcome' AS outcome,
  event -> 'data' ->> 'reason' AS reason,
  event -> 'data' ->> 'source_ip' AS source_ip,
  trace_id
FROM audit.event_log
WHERE type IN ('request.denied', 'request.rejected', 'session.rejected', 'config.rejected');

COMMENT ON VIEW audit.denials IS 'What was refused: requests, identities, configuration documents';
COMMENT ON COLUMN audit.denials.seq IS 'Position in the chain';
COMMENT ON COLUMN audit.denials.time IS 'When it was refused';
COMMENT ON COLUMN audit.denials.type IS 'request.denied, request.rejected (by an approver), session.rejected or config.rejected';
COMMENT ON COLUMN audit.denials.organization IS 'The organization; null where none could be established';
COMMENT ON COLUMN audit.denials.session_id IS 'The session that asked';
COMMENT ON COLUMN audit.denials.agent_id IS 'SPIFFE ID of the asker, where known';
COMMENT ON COLUMN audit.denials.agent_role IS 'Its role, from verified claims';
COMMENT ON COLUMN audit.denials."user" IS 'The human on whose behalf it asked';
COMMENT ON COLUMN audit.denials.credential IS 'What it asked for';
COMMENT ON COLUMN audit.denials.scope IS 'The scope it asked for';
COMMENT ON COLUMN audit.denials.outcome IS 'The code that the asker got';
COMMENT ON COLUMN audit.denials.reason IS 'The full why';
COMMENT ON COLUMN audit.denials.source_ip IS 'Address of the asker';
COMMENT ON COLUMN audit.denials.trace_id IS 'The trace of the request';

CREATE VIEW audit.checkpoints AS SELECT seq, encode(hash, 'hex') AS hash, at, token FROM audit.checkpoint;

COMMENT ON VIEW audit.checkpoints IS 'Signed statements of where the chain ended';
COMMENT ON COLUMN audit.checkpoints.seq IS 'seq of the last row then';
COMMENT ON COLUMN audit.checkpoints.hash IS 'hash of the last row then, hex';
COMMENT ON COLUMN audit.checkpoints.at IS 'When it was signed';
COMMENT ON COLUMN audit.checkpoints.token IS 'JWS over seq, hash and at; its key is public/checkpoint.jwks.json';

CREATE VIEW audit.chain_end AS SELECT seq, encode(hash, 'hex') AS hash FROM audit.chain_head;

COMMENT ON VIEW audit.chain_end IS 'Where the log says that it ends';
COMMENT ON COLUMN audit.chain_end.seq IS 'seq of the last row';
COMMENT ON COLUMN audit.chain_end.hash IS 'hash of the last row, hex';

GRANT SELECT ON audit.events, audit.denials, audit.checkpoints, audit.chain_end TO mayfly_auditor;
