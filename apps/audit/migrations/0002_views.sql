-- What auditors read. The role mayfly_auditor may SELECT here and nowhere else.

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

CREATE VIEW audit.credential_lifecycle AS
SELECT
  first.lease_id,
  first.organization,
  first.session_id,
  first.agent_id,
  first.event -> 'data' ->> 'agent_role' AS agent_role,
  first.event -> 'data' ->> 'user' AS "user",
  first.event -> 'data' ->> 'task' AS task,
  first.event -> 'data' ->> 'claimed_task' AS claimed_task,
  first.event -> 'data' ->> 'credential' AS credential,
  first.event -> 'data' ->> 'provider' AS provider,
  first.event -> 'data' -> 'scope' AS scope,
  first.time AS requested_at,
  issued.time AS issued_at,
  (issued.event -> 'data' ->> 'expires_at')::timestamptz AS expires_at,
  (issued.event -> 'data' ->> 'native_expires_at')::timestamptz AS native_expires_at,
  issued.event -> 'data' -> 'revocability' ->> 'kind' AS revocability,
  used.last_used_at,
  ended.time AS ended_at,
  replace(ended.type, 'credential.', '') AS how_ended,
  ended.event -> 'data' ->> 'reason' AS end_reason,
  used.uses,
  first.event -> 'data' ->> 'source_ip' AS source_ip,
  (first.event -> 'data' ->> 'config_version')::bigint AS config_version,
  first.event -> 'data' -> 'policy_ids' AS policy_ids,
  first.trace_id
FROM audit.event_log AS first
LEFT JOIN LATERAL (
  SELECT e.time, e.event FROM audit.event_log AS e
  WHERE e.lease_id = first.lease_id AND e.type = 'credential.issued' ORDER BY e.seq LIMIT 1
) AS issued ON true
LEFT JOIN LATERAL (
  SELECT e.time, e.type, e.event FROM audit.event_log AS e
  WHERE e.lease_id = first.lease_id
    AND e.type IN ('credential.failed', 'credential.orphaned', 'credential.expired', 'credential.revoked')
  ORDER BY e.seq LIMIT 1
) AS ended ON true
CROSS JOIN LATERAL (
  SELECT count(*) AS uses, max(e.time) AS last_used_at FROM audit.event_log AS e
  WHERE e.lease_id = first.lease_id AND e.type = 'credential.used'
) AS used
WHERE first.type = 'credential.intended'
   OR (first.type = 'credential.issued' AND NOT EXISTS (
         SELECT FROM audit.event_log AS e WHERE e.lease_id = first.lease_id AND e.type = 'credential.intended'));

COMMENT ON VIEW audit.credential_lifecycle IS 'One row per lease: who held what, when, on whose behalf, and how it ended';
COMMENT ON COLUMN audit.credential_lifecycle.lease_id IS 'The lease';
COMMENT ON COLUMN audit.credential_lifecycle.organization IS 'The organization it belongs to';
COMMENT ON COLUMN audit.credential_lifecycle.session_id IS 'The session that asked';
COMMENT ON COLUMN audit.credential_lifecycle.agent_id IS 'SPIFFE ID of the agent that asked';
COMMENT ON COLUMN audit.credential_lifecycle.agent_role IS 'Its role, from verified claims';
COMMENT ON COLUMN audit.credential_lifecycle."user" IS 'The human on whose behalf it acted';
COMMENT ON COLUMN audit.credential_lifecycle.task IS 'Its task, from verified claims';
COMMENT ON COLUMN audit.credential_lifecycle.claimed_task IS 'What it said it was doing';
COMMENT ON COLUMN audit.credential_lifecycle.credential IS 'The credential that was asked for';
COMMENT ON COLUMN audit.credential_lifecycle.provider IS 'The kind of upstream';
COMMENT ON COLUMN audit.credential_lifecycle.scope IS 'What the minted credential could do';
COMMENT ON COLUMN audit.credential_lifecycle.requested_at IS 'When minting began';
COMMENT ON COLUMN audit.credential_lifecycle.issued_at IS 'When it became active; null when it never did, and then nobody ever had it';
COMMENT ON COLUMN audit.credential_lifecycle.expires_at IS 'When Mayfly ends it at the latest';
COMMENT ON COLUMN audit.credential_lifecycle.native_expires_at IS 'When the upstream ends it by itself, where it does';
COMMENT ON COLUMN audit.credential_lifecycle.revocability IS 'How it can be ended early: immediate, eventual or expiry_only';
COMMENT ON COLUMN audit.credential_lifecycle.last_used_at IS 'The last use that was reported or observed';
COMMENT ON COLUMN audit.credential_lifecycle.ended_at IS 'When it ended; null while it lives';
COMMENT ON COLUMN audit.credential_lifecycle.how_ended IS 'expired, revoked, failed or orphaned; null while it lives';
COMMENT ON COLUMN audit.credential_lifecycle.end_reason IS 'Why it ended';
COMMENT ON COLUMN audit.credential_lifecycle.uses IS 'How many uses were reported or observed';
COMMENT ON COLUMN audit.credential_lifecycle.source_ip IS 'Address of the asker';
COMMENT ON COLUMN audit.credential_lifecycle.config_version IS 'The configuration by which it was granted';
COMMENT ON COLUMN audit.credential_lifecycle.policy_ids IS 'The policies that allowed it';
COMMENT ON COLUMN audit.credential_lifecycle.trace_id IS 'Its trace for life; find it in Jaeger';

CREATE VIEW audit.live_credentials AS
SELECT * FROM audit.credential_lifecycle
WHERE issued_at IS NOT NULL
  AND (ended_at IS NULL
       -- Mayfly has ended it, but what was handed out works until the upstream's own expiry for whoever does not ask Mayfly.
       OR (revocability = 'expiry_only' AND native_expires_at > now()));
COMMENT ON VIEW audit.live_credentials IS 'Leases that may still work, also those that were ended but can not be called back; the columns are those of credential_lifecycle';

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

GRANT SELECT ON audit.events, audit.credential_lifecycle, audit.live_credentials, audit.denials, audit.checkpoints, audit.chain_end TO mayfly_auditor;
