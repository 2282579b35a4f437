-- The lease register: one row per lease.
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
  mint_id              uuid,
  issuance_traceparent text NOT NULL,

  intended_at          timestamptz,
  granted_at           timestamptz,
  issued_at            timestamptz,
  expires_at           timestamptz,
  native_expires_at    timestamptz,

  renewals             integer NOT NULL DEFAULT 0,
  last_renewed_at      timestamptz,
  renewal_id           uuid,
  renewal_granted_at   timestamptz,
  renewing_until       timestamptz,
  predecessor_id       uuid,
  successor_id         uuid,

  ended_at             timestamptz,
  end_cause            text CHECK (end_cause IN ('expired', 'revoked')),
  end_reason           text,
  end_traceparent      text,
  revocation_id        uuid,

  handle               text,
  other_handle         text,
  fingerprints         jsonb,
  use_keys             jsonb,

  cleanup              text CHECK (cleanup IN ('pending', 'done', 'unreachable')),
  access_ended_at      timestamptz,
  cleanup_failed_at    timestamptz,
  due_at               timestamptz,
  attempts             integer NOT NULL DEFAULT 0,
  claims               integer NOT NULL DEFAULT 0,
  claimed_by           uuid,
  claimed_until        timestamptz,
  last_error           text,

  CONSTRAINT ended_is_told CHECK ((state IN ('failed', 'orphaned', 'expired', 'revoked')) = (ended_at IS NOT NULL)),
  -- I10: what has not ended, or may have left something upstream, is always due at some time.
  CONSTRAINT never_forgotten CHECK ((ended_at IS NULL OR cleanup IS NOT DISTINCT FROM 'pending') = (due_at IS NOT NULL)),
  CONSTRAINT live_is_complete CHECK (
    state NOT IN ('active', 'revoking', 'revocation_failed')
    OR (granted_at IS NOT NULL AND issued_at IS NOT NULL AND expires_at IS NOT NULL
        AND revocability IS NOT NULL AND handle IS NOT NULL)),
  CONSTRAINT end_has_cause CHECK ((state IN ('revoking', 'revocation_failed', 'expired', 'revoked')) = (end_cause IS NOT NULL)),
  CONSTRAINT handle_is_dropped CHECK (handle IS NULL OR due_at IS NOT NULL),
  CONSTRAINT other_handle_is_used CHECK (other_handle IS NULL OR due_at IS NOT NULL),
  CONSTRAINT claim_has_a_holder CHECK (claimed_until IS NULL OR claimed_by IS NOT NULL)
) WITH (
  fillfactor = 70,
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.05
);

-- A handle is encrypted and base64: there is nothing to gain from compressing it.
ALTER TABLE revocation.leases ALTER COLUMN handle SET STORAGE EXTERNAL;

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
COMMENT ON COLUMN revocation.leases.renewable IS 'Whether its holder may renew it; from the grant';
COMMENT ON COLUMN revocation.leases.mint_id IS 'The redemption of the grant that became this lease: of one grant redeemed twice, only this one may be undone by its abandonment';
COMMENT ON COLUMN revocation.leases.issuance_traceparent IS 'The issuance span; all later spans of the lease are its children';
COMMENT ON COLUMN revocation.leases.intended_at IS 'When the intent came here; null when the activation overtook it';
COMMENT ON COLUMN revocation.leases.granted_at IS 'granted_at of the grant: Postgres'' clock as policy read it, cut to milliseconds; null until activation';
COMMENT ON COLUMN revocation.leases.issued_at IS 'The activation: from here on the credential may be released';
COMMENT ON COLUMN revocation.leases.expires_at IS 'When Mayfly ends it';
COMMENT ON COLUMN revocation.leases.native_expires_at IS 'When the upstream ends it by itself; while a renewal is under way, or after one that failed, the latest that this can be';
COMMENT ON COLUMN revocation.leases.renewals IS 'How often it, with its predecessors, has been renewed';
COMMENT ON COLUMN revocation.leases.last_renewed_at IS 'When it was last renewed';
COMMENT ON COLUMN revocation.leases.renewal_id IS 'The renewal that was begun last; a later begin takes the place of one that never came to its end';
COMMENT ON COLUMN revocation.leases.renewal_granted_at IS 'When that renewal was granted; no grant of that instant or before is good any more, so each is good once';
COMMENT ON COLUMN revocation.leases.renewing_until IS 'While a renewal is under way: until then no other begins; null when none is';
COMMENT ON COLUMN revocation.leases.predecessor_id IS 'The lease that it took the place of';
COMMENT ON COLUMN revocation.leases.successor_id IS 'The lease that took its place; it ends after the grace';
COMMENT ON COLUMN revocation.leases.ended_at IS 'When the end was known to be done; null while it may still work';
COMMENT ON COLUMN revocation.leases.end_cause IS 'What started the end: its expiry, or somebody who revoked it';
COMMENT ON COLUMN revocation.leases.end_reason IS 'Why it ended, for people; never an upstream''s text';
COMMENT ON COLUMN revocation.leases.end_traceparent IS 'The request that caused the end';
COMMENT ON COLUMN revocation.leases.revocation_id IS 'The revocation that started its end; null when something else did';
COMMENT ON COLUMN revocation.leases.handle IS 'What revoking needs, a JWE that minting alone can open; nulled at the end';
COMMENT ON COLUMN revocation.leases.other_handle IS 'Sealed, as handle: what another redemption of the same grant made and could not remove. Removed once the lease has ended and is cleaned up after; null for nearly all';
COMMENT ON COLUMN revocation.leases.fingerprints IS 'SHA-256 of each part of the secret';
COMMENT ON COLUMN revocation.leases.use_keys IS 'What of the minted thing shows up in the upstream''s own logs';
COMMENT ON COLUMN revocation.leases.cleanup IS 'Of a lease that has ended: whether something of it is still to be removed upstream; unreachable when it has no name to be found by; null when nothing ever was';
COMMENT ON COLUMN revocation.leases.access_ended_at IS 'When it was known that no login and no session of it was left upstream. What is then still to be cleaned up can do nothing, and is removed apart from ends';
COMMENT ON COLUMN revocation.leases.cleanup_failed_at IS 'When the clean-up after its end was refused for the first time, which is told once; null for nearly all';
COMMENT ON COLUMN revocation.leases.due_at IS 'When something is to be done about it next: orphaning, expiry, another attempt, clean-up; null when all is done';
COMMENT ON COLUMN revocation.leases.attempts IS 'How often its end or clean-up was tried';
COMMENT ON COLUMN revocation.leases.claims IS 'Grows with every claim and whenever one is taken away: who holds an older number changes nothing any more';
COMMENT ON COLUMN revocation.leases.claimed_by IS 'While claimed_until is set: the row of revocation.replicas without which the claim is void. No reference, so that a replica''s row goes at once';
COMMENT ON COLUMN revocation.leases.claimed_until IS 'Set while a replica works on it. The longest that it may, although it lives: after that it is anyone''s';
COMMENT ON COLUMN revocation.leases.last_error IS 'Code of the last failed attempt to end it or to clean up after it; null when none failed. Never an upstream''s text';

CREATE INDEX leases_due ON revocation.leases (due_at) WHERE due_at IS NOT NULL;

-- What is being tried again. Small: only what has failed and is not done.
CREATE INDEX leases_failing ON revocation.leases (organization, lease_id) WHERE last_error IS NOT NULL AND due_at IS NOT NULL;

-- By what a revocation names. None of these predicates or columns changes before the end. Those of subjects that may have very
-- many leases hold the lease id too, so that each batch of a revocation begins where the one before ended, in the order of
-- the index.
CREATE INDEX leases_live_session ON revocation.leases (session_id) WHERE granted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX leases_live_parent_session ON revocation.leases (parent_session_id)
  WHERE parent_session_id IS NOT NULL AND granted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX leases_live_agent ON revocation.leases (organization, agent_id, lease_id) WHERE granted_at IS NOT NULL AND ended_at IS NULL;
CREATE INDEX leases_live_user ON revocation.leases (organization, "user", lease_id)
  WHERE "user" IS NOT NULL AND granted_at IS NOT NULL AND ended_at IS NULL;
-- Serves everything, organization, integration and credential, each a prefix: a credential is named <integration>/<name>.
CREATE INDEX leases_live_credential ON revocation.leases (organization, credential, lease_id) WHERE granted_at IS NOT NULL AND ended_at IS NULL;

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
