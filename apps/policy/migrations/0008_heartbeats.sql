-- Sessions that asked to be ended when they go unheard.
ALTER TABLE policy.sessions
  ADD COLUMN heartbeat_seconds integer CHECK (heartbeat_seconds BETWEEN 10 AND 300),
  ADD COLUMN heard_until timestamptz,
  ADD CONSTRAINT heartbeat_is_due CHECK ((heartbeat_seconds IS NULL) = (heard_until IS NULL));

COMMENT ON COLUMN policy.sessions.heartbeat_seconds IS 'The session ends when it goes unheard for longer; null when it did not ask for that';
COMMENT ON COLUMN policy.sessions.heard_until IS 'When it ends unless it is heard of before; moved when a third of the time has gone at the earliest';
COMMENT ON COLUMN policy.sessions.end_reason IS 'closed: by its holder (RFC 7009); expired: by time; unheard: its heartbeat was lost';

ALTER TABLE policy.sessions DROP CONSTRAINT sessions_end_reason_check;
ALTER TABLE policy.sessions ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason IN ('closed', 'expired', 'unheard'));

CREATE INDEX sessions_unheard ON policy.sessions (heard_until) WHERE ended_at IS NULL AND heard_until IS NOT NULL;
