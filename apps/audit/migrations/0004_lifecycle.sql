-- Leases as auditors see them, from the request to the end, with the end that the last renewal gave.

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
  (coalesce(renewed.event, issued.event) -> 'data' ->> 'expires_at')::timestamptz AS expires_at,
  (coalesce(renewed.event, issued.event) -> 'data' ->> 'native_expires_at')::timestamptz AS native_expires_at,
  issued.event -> 'data' -> 'revocability' ->> 'kind' AS revocability,
  used.last_used_at,
  ended.time AS ended_at,
  replace(ended.type, 'credential.', '') AS how_ended,
  ended.event -> 'data' ->> 'reason' AS end_reason,
  used.uses,
  first.event -> 'data' ->> 'source_ip' AS source_ip,
  (first.event -> 'data' ->> 'config_version')::bigint AS config_version,
  first.event -> 'data' -> 'policy_ids' AS policy_ids,
  first.trace_id,
  coalesce((coalesce(renewed.event, issued.event) -> 'data' ->> 'renewals')::int, 0) AS renewals,
  renewed.time AS last_renewed_at,
  (issued.event -> 'data' ->> 'predecessor_id')::uuid AS predecessor_id,
  (renewed.event -> 'data' ->> 'successor_id')::uuid AS successor_id,
  CASE WHEN left_over.cleaned_up_at IS NOT NULL THEN 'done' ELSE ended.event -> 'data' ->> 'cleanup' END AS cleanup,
  left_over.cleanup_failed_at,
  left_over.cleaned_up_at
FROM audit.event_log AS first
LEFT JOIN LATERAL (
  SELECT e.time, e.event FROM audit.event_log AS e
  WHERE e.lease_id = first.lease_id AND e.type = 'credential.issued' ORDER BY e.seq LIMIT 1
) AS issued ON true
-- The last one; events of two renewals may have been written in either order.
LEFT JOIN LATERAL (
  SELECT e.time, e.event FROM audit.event_log AS e
  WHERE e.lease_id = first.lease_id AND e.type = 'credential.renewed'
  ORDER BY (e.event -> 'data' ->> 'renewals')::int DESC, e.seq DESC LIMIT 1
) AS renewed ON true
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
CROSS JOIN LATERAL (
  SELECT min(e.time) FILTER (WHERE e.type = 'credential.cleanup_failed') AS cleanup_failed_at,
         max(e.time) FILTER (WHERE e.type = 'credential.cleaned_up') AS cleaned_up_at
  FROM audit.event_log AS e
  WHERE e.lease_id = first.lease_id AND e.type IN ('credential.cleanup_failed', 'credential.cleaned_up')
) AS left_over
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
COMMENT ON COLUMN audit.credential_lifecycle.expires_at IS 'When Mayfly ends it at the latest, after its last renewal';
COMMENT ON COLUMN audit.credential_lifecycle.native_expires_at IS 'When the upstream ends it by itself, where it does, after its last renewal';
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
COMMENT ON COLUMN audit.credential_lifecycle.renewals IS 'How often it, with its predecessors, has been renewed';
COMMENT ON COLUMN audit.credential_lifecycle.last_renewed_at IS 'When it was last renewed; null when it never was';
COMMENT ON COLUMN audit.credential_lifecycle.predecessor_id IS 'The lease that it took the place of by rotation';
COMMENT ON COLUMN audit.credential_lifecycle.successor_id IS 'The lease that took its place by rotation';
COMMENT ON COLUMN audit.credential_lifecycle.cleanup IS 'pending while something that it left upstream is still to be removed, which can do nothing any more; done once that is removed; null when its end left nothing';
COMMENT ON COLUMN audit.credential_lifecycle.cleanup_failed_at IS 'When removing that was refused for the first time; null when it never was';
COMMENT ON COLUMN audit.credential_lifecycle.cleaned_up_at IS 'When that had been removed';

-- Postgres writes SELECT * out when the view is made: whoever gives credential_lifecycle another column makes this one again.
CREATE VIEW audit.live_credentials AS
SELECT * FROM audit.credential_lifecycle
WHERE issued_at IS NOT NULL
  AND (ended_at IS NULL
       -- Mayfly has ended it, but what was handed out works until the upstream's own expiry for whoever does not ask Mayfly.
       OR (revocability = 'expiry_only' AND native_expires_at > now()));

COMMENT ON VIEW audit.live_credentials IS 'Leases that may still work, also those that were ended but can not be called back; the columns are those of credential_lifecycle';

GRANT SELECT ON audit.credential_lifecycle, audit.live_credentials TO mayfly_auditor;
