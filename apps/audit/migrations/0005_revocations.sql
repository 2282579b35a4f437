-- Revocations as auditors see them: who had what ended, why, and how it went.

CREATE VIEW audit.revocations AS
SELECT
  (asked.event -> 'data' ->> 'revocation_id')::uuid AS revocation_id,
  asked.organization,
  asked.event -> 'data' -> 'action_context' -> 'subject' ->> 'kind' AS subject_kind,
  asked.event -> 'data' -> 'action_context' -> 'subject' ->> 'id' AS subject_id,
  asked.event -> 'data' ->> 'reason' AS reason,
  asked.agent_id AS asked_by,
  asked.session_id,
  asked.time AS requested_at,
  ended.leases AS ended,
  ended.last_ended_at,
  done.time AS completed_at,
  (done.event -> 'data' -> 'action_context' ->> 'matched')::integer AS matched,
  asked.trace_id
FROM audit.event_log AS asked
LEFT JOIN LATERAL (
  SELECT e.time, e.event FROM audit.event_log AS e
  WHERE e.event -> 'data' ->> 'revocation_id' = asked.event -> 'data' ->> 'revocation_id'
    AND e.type = 'revocation.completed'
  LIMIT 1
) AS done ON true
CROSS JOIN LATERAL (
  SELECT count(*) AS leases, max(e.time) AS last_ended_at FROM audit.event_log AS e
  WHERE e.event -> 'data' ->> 'revocation_id' = asked.event -> 'data' ->> 'revocation_id'
    AND e.type IN ('credential.revoked', 'credential.expired')
) AS ended
WHERE asked.type = 'revocation.requested' AND asked.event -> 'data' ->> 'revocation_id' IS NOT NULL;

COMMENT ON VIEW audit.revocations IS 'One row per revocation of an administrator: who had what ended, why, and how it went';
COMMENT ON COLUMN audit.revocations.revocation_id IS 'The revocation; data.revocation_id of the events that belong to it';
COMMENT ON COLUMN audit.revocations.organization IS 'The organization of whoever asked';
COMMENT ON COLUMN audit.revocations.subject_kind IS 'lease, session, agent, user, credential, integration, organization or everything';
COMMENT ON COLUMN audit.revocations.subject_id IS 'What was named; null for everything';
COMMENT ON COLUMN audit.revocations.reason IS 'Why, in the words of whoever asked';
COMMENT ON COLUMN audit.revocations.asked_by IS 'SPIFFE ID of the administrator';
COMMENT ON COLUMN audit.revocations.session_id IS 'The session of the administrator';
COMMENT ON COLUMN audit.revocations.requested_at IS 'When it was asked for; from here on it was durable';
COMMENT ON COLUMN audit.revocations.ended IS 'Leases whose end it started and that have ended; one that was ending anyway is not among them';
COMMENT ON COLUMN audit.revocations.last_ended_at IS 'When the last of these ended';
COMMENT ON COLUMN audit.revocations.completed_at IS 'When all that it found had ended; null while some have not';
COMMENT ON COLUMN audit.revocations.matched IS 'How many leases it found alive; null until completed';
COMMENT ON COLUMN audit.revocations.trace_id IS 'The trace of the request';

GRANT SELECT ON audit.revocations TO mayfly_auditor;
