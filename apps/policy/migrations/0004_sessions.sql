-- Sessions: one row per attested agent or person at work. No token is stored, so none can be read here.
CREATE TABLE policy.sessions (
  id uuid PRIMARY KEY,
  organization text NOT NULL,
  agent_id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('agent', 'person')),
  agent_role text,
  person_roles text[] NOT NULL DEFAULT '{}',
  user_name text,
  task text,
  recipient_key jsonb,
  trust_rule text NOT NULL,
  opened_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  heartbeat_seconds integer CHECK (heartbeat_seconds BETWEEN 10 AND 300),
  heard_until timestamptz,
  ended_at timestamptz,
  end_reason text CHECK (end_reason IN ('closed', 'expired', 'unheard')),
  CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
  CHECK (expires_at > opened_at AND expires_at <= opened_at + interval '1 hour'),
  CONSTRAINT heartbeat_is_due CHECK ((heartbeat_seconds IS NULL) = (heard_until IS NULL))
);

COMMENT ON TABLE policy.sessions IS 'One attested agent or person at work. Live while ended_at is null and expires_at is ahead.';
COMMENT ON COLUMN policy.sessions.id IS 'UUIDv7; sid of the session token';
COMMENT ON COLUMN policy.sessions.organization IS 'The tenant, from the trust rule that admitted the identity';
COMMENT ON COLUMN policy.sessions.agent_id IS 'SPIFFE ID of the agent or person';
COMMENT ON COLUMN policy.sessions.kind IS 'agent or person; a person never gets a lease';
COMMENT ON COLUMN policy.sessions.agent_role IS 'The label that policies speak of, from verified claims';
COMMENT ON COLUMN policy.sessions.person_roles IS 'administrator, auditor, platform_administrator; empty for agents';
COMMENT ON COLUMN policy.sessions.user_name IS 'The human on whose behalf the agent acts; "user" in JSON, a reserved word here';
COMMENT ON COLUMN policy.sessions.task IS 'The task, from verified claims';
COMMENT ON COLUMN policy.sessions.recipient_key IS 'Public JWK that secrets of this session are sealed to; null: none was registered';
COMMENT ON COLUMN policy.sessions.trust_rule IS 'Name of the trust rule that admitted the identity';
COMMENT ON COLUMN policy.sessions.opened_at IS 'By the clock of Postgres, as all times here';
COMMENT ON COLUMN policy.sessions.expires_at IS 'When the session ends by itself; at most one hour after it was opened';
COMMENT ON COLUMN policy.sessions.heartbeat_seconds IS 'The session ends when it goes unheard for longer; null when it did not ask for that';
COMMENT ON COLUMN policy.sessions.heard_until IS 'When it ends unless it is heard of before; moved when a third of the time has gone at the earliest';
COMMENT ON COLUMN policy.sessions.ended_at IS 'When the session was ended, or found to have expired';
COMMENT ON COLUMN policy.sessions.end_reason IS 'closed: by its holder (RFC 7009); expired: by time; unheard: its heartbeat was lost';

CREATE INDEX sessions_due ON policy.sessions (expires_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_unheard ON policy.sessions (heard_until) WHERE ended_at IS NULL AND heard_until IS NOT NULL;
CREATE INDEX sessions_ended ON policy.sessions (ended_at) WHERE ended_at IS NOT NULL;
