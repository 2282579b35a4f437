-- The lease register: one row per lease, and the fences that stop mints under way.
--
-- Hot path: activation inserts a row; a claim changes it in place (no indexed column changes, so the update is
-- heap-only, for which pages keep room); the end takes it out of every index but the three that list. All work is
-- found by one partial index on due_at, which holds what is not finished and nothing else, so millions of ended rows
-- cost a claim nothing.

CREATE TABLE revocation.leases (
  lease_id             uuid PRIMARY KEY,
  state                text NOT NULL CHECK (state IN ('intended', 'active', 'failed', 'orphaned', 'revoking', 'revocation_failed', 'expired', 'revoked')),
  organization         text NOT NULL,
  session_id           uuid NOT NULL,
  parent_session_id    uuid,
  agent_id             text NOT NULL,
  agent_role           text,
  "user"               text,
  task                 text,
  claimed_task         text,
  credential           text COLLATE "C" NOT NULL,
  integration          text NOT NULL,
  provider             text NOT NULL,
  scope                jsonb NOT NULL,
  ttl_seconds          integer NOT NULL CHECK (ttl_seconds > 0),
  config_version       integer NOT NULL,
  revocability         jsonb,
  renewable            boolean NOT NULL DEFAULT false,
  issuance_traceparent text NOT NULL,
  intended_at          timestamptz,
  granted_at           timestamptz,
  issued_at            timestamptz,
  expires_at           timestamptz,
  native_expires_at    timestamptz,
  ended_at             timestamptz,
  end_cause            text CHECK (end_cause IN ('expired', 'revoked')),
  end_reason           text,
  end_traceparent      text,
  handle               text,
  fingerprints         jsonb,
  use_keys             jsonb,
  cleanup              text CHECK (cleanup IN ('pending', 'done', 'unreachable')),
  due_at               timestamptz,
  attempts             integer NOT NULL DEFAULT 0,
  claimed_until        timestamptz,

  CONSTRAINT ended_is_told CHECK ((state IN ('failed', 'orphaned', 'expired', 'revoked')) = (ended_at IS NOT NULL)),
  -- I10: what has not ended, or may have left something upstream, is always due at some time.
  CONSTRAINT never_forgotten CHECK ((ended_at IS NULL OR cleanup IS NOT DISTINCT FROM 'pending') = (due_at IS NOT NULL)),
  CONSTRAINT live_is_complete CHECK (
    state NOT IN ('active', 'revoking', 'revocation_failed')
    OR (granted_at IS NOT NULL AND issued_at IS NOT NULL AND expires_at IS NOT NULL
        AND revocability IS NOT NULL AND handle IS NOT NULL)),
  CONSTRAINT end_has_cause CHECK ((state IN ('revoking', 'revocation_failed', 'expired', 'revoked')) = (end_cause IS NOT NULL)),
  CONSTRAINT handle_is_dropped CHECK (handle IS NULL OR due_at IS NOT NULL)
) WITH (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.05
);

-- A handle is encrypted and base64: there is nothing to gain from compressing it.
ALTER TABLE revocation.leases ALTER COLUMN handle SET STORAGE EXTERNAL;

CREATE INDEX leases_due ON revocation.leases (due_at) WHERE due_at IS NOT NULL;

-- By what a revocation names. None of these predicates or columns changes before the end.
CREATE INDEX leases_live_session ON revocation.leases (session_id) WHERE granted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX leases_live_parent_session ON revocation.leases (parent_session_id)
  WHERE parent_session_id IS NOT NULL AND granted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX leases_live_agent ON revocation.leases (organization, agent_id, lease_id) WHERE granted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX leases_live_user ON revocation.leases (organization, "user")
  WHERE "user" IS NOT NULL AND granted_at IS NOT NULL AND ended_at IS NULL;
-- Serves integration, credential and organization, each a prefix: a credential is named <integration>/<name>.
CREATE INDEX leases_live_credential ON revocation.leases (organization, credential) WHERE granted_at IS NOT NULL AND ended_at IS NULL;

-- Lists, newest first.
CREATE INDEX leases_of_agent ON revocation.leases (organization, agent_id, lease_id);
CREATE INDEX leases_of_organization ON revocation.leases (organization, lease_id);

-- The only moves of a lease (published as leaseMoves; a test compares). The condition is checked without a call; the
-- function runs only to refuse.
CREATE FUNCTION revocation.refuse_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a lease does not move from % to %', OLD.state, NEW.state USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TRIGGER only_legal_moves BEFORE UPDATE OF state ON revocation.leases FOR EACH ROW
  WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
    ('intended', 'active'), ('intended', 'failed'), ('intended', 'orphaned'),
    ('active', 'revoking'),
    ('revoking', 'expired'), ('revoking', 'revoked'), ('revoking', 'revocation_failed'),
    ('revocation_failed', 'expired'), ('revocation_failed', 'revoked')))
  EXECUTE FUNCTION revocation.refuse_move();

COMMENT ON TABLE revocation.leases IS 'Every lease that was intended, whatever became of it; owned by the revocation service';
COMMENT ON COLUMN revocation.leases.lease_id IS 'UUIDv7; policy made it with the grant';
COMMENT ON COLUMN revocation.leases.state IS 'intended, active, failed, orphaned, revoking, revocation_failed, expired or revoked';
COMMENT ON COLUMN revocation.leases.organization IS 'The tenant that the lease belongs to';
COMMENT ON COLUMN revocation.leases.session_id IS 'The session that asked for it';
COMMENT ON COLUMN revocation.leases.parent_session_id IS 'The session that delegated to that session';
COMMENT ON COLUMN revocation.leases.agent_id IS 'SPIFFE ID of the agent';
COMMENT ON COLUMN revocation.leases.agent_role IS 'Role of the agent, from verified claims';
COMMENT ON COLUMN revocation.leases."user" IS 'The human on whose behalf the agent acts';
COMMENT ON COLUMN revocation.leases.task IS 'Task of the agent, from verified claims';
COMMENT ON COLUMN revocation.leases.claimed_task IS 'What the agent says it is doing; never trusted';
COMMENT ON COLUMN revocation.leases.credential IS '<integration>/<name>';
COMMENT ON COLUMN revocation.leases.integration IS 'The configured upstream account; what concurrency is bounded by';
COMMENT ON COLUMN revocation.leases.provider IS 'Kind of upstream';
COMMENT ON COLUMN revocation.leases.scope IS 'Effective scope, in the form of the provider';
COMMENT ON COLUMN revocation.leases.ttl_seconds IS 'Effective TTL';
COMMENT ON COLUMN revocation.leases.config_version IS 'Version of the configuration that the grant was resolved with';
COMMENT ON COLUMN revocation.leases.revocability IS 'How it can be ended early: immediate, eventual or expiry_only; known from activation';
COMMENT ON COLUMN revocation.leases.renewable IS 'Whether the provider can prolong it in place';
COMMENT ON COLUMN revocation.leases.issuance_traceparent IS 'The issuance span; all later spans of the lease are its children';
COMMENT ON COLUMN revocation.leases.intended_at IS 'When the intent came here; null when the activation overtook it';
COMMENT ON COLUMN revocation.leases.granted_at IS 'granted_at of the grant: Postgres'' clock as policy read it, cut to milliseconds; null until activation';
COMMENT ON COLUMN revocation.leases.issued_at IS 'The activation: from here on the credential may be released';
COMMENT ON COLUMN revocation.leases.expires_at IS 'When Mayfly ends it';
COMMENT ON COLUMN revocation.leases.native_expires_at IS 'When the upstream ends it by itself';
COMMENT ON COLUMN revocation.leases.ended_at IS 'When the end was known to be done; null while it may still work';
COMMENT ON COLUMN revocation.leases.end_cause IS 'What started the end: its expiry, or somebody who revoked it';
COMMENT ON COLUMN revocation.leases.end_reason IS 'Why it ended, for people; never an upstream''s text';
COMMENT ON COLUMN revocation.leases.end_traceparent IS 'The request that caused the end';
COMMENT ON COLUMN revocation.leases.handle IS 'What revoking needs, a JWE that minting alone can open; nulled at the end';
COMMENT ON COLUMN revocation.leases.fingerprints IS 'SHA-256 of each part of the secret';
COMMENT ON COLUMN revocation.leases.use_keys IS 'What of the minted thing shows up in the upstream''s own logs';
COMMENT ON COLUMN revocation.leases.cleanup IS 'For failed and orphaned: whether something upstream is still to be removed; unreachable when it has no name to be found by';
COMMENT ON COLUMN revocation.leases.due_at IS 'When something is to be done about it next: orphaning, expiry, another attempt, clean-up; null when all is done';
COMMENT ON COLUMN revocation.leases.attempts IS 'How often its end or clean-up was tried; also tells one claim from the next';
COMMENT ON COLUMN revocation.leases.claimed_until IS 'Until then one replica works on it; after that it is anyone''s';

CREATE TABLE revocation.fences (
  organization text NOT NULL,
  subject_kind text NOT NULL CHECK (subject_kind IN ('lease', 'session', 'agent', 'user', 'credential', 'integration', 'organization')),
  subject_id   text NOT NULL,
  agent_id     text NOT NULL DEFAULT '',
  instant      timestamptz NOT NULL,
  reason       text NOT NULL,
  recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization, subject_kind, subject_id, agent_id)
);
CREATE INDEX fences_recorded ON revocation.fences (recorded_at);

COMMENT ON TABLE revocation.fences IS 'Nothing granted up to the instant for the subject may become active; kept for 2 hours';
COMMENT ON COLUMN revocation.fences.organization IS 'A fence stops nothing of another organization';
COMMENT ON COLUMN revocation.fences.subject_kind IS 'lease, session (with its child sessions), agent, user, credential, integration or organization';
COMMENT ON COLUMN revocation.fences.subject_id IS 'Lease id, session id, SPIFFE ID, user, credential, integration or organization';
COMMENT ON COLUMN revocation.fences.agent_id IS 'When not empty, only leases of this agent are stopped: an agent may fence a lease that is not known here yet, but only its own';
COMMENT ON COLUMN revocation.fences.instant IS 'By Postgres'' clock; infinity for what never comes back: a lease given back, a session that has ended';
COMMENT ON COLUMN revocation.fences.reason IS 'Why, for people';
COMMENT ON COLUMN revocation.fences.recorded_at IS 'Fences are removed 2 hours after this';
