-- Blocks: who gets no new lease, and what nobody gets.
CREATE TABLE policy.blocks (
  block_id uuid PRIMARY KEY,
  organization text NOT NULL,
  subject_kind text NOT NULL CHECK (subject_kind IN ('agent', 'user', 'session', 'credential', 'integration')),
  subject_id text NOT NULL,
  reason text NOT NULL,
  added_by text NOT NULL,
  added_at timestamptz NOT NULL,
  until timestamptz,
  UNIQUE (organization, subject_kind, subject_id)
);
CREATE INDEX blocks_lapsing ON policy.blocks (until) WHERE until IS NOT NULL;
CREATE INDEX blocks_of_organization ON policy.blocks (organization, block_id);

COMMENT ON TABLE policy.blocks IS 'Subjects for which no lease is granted or renewed. One row per subject: asked for again, it lasts at least as long as before';
COMMENT ON COLUMN policy.blocks.block_id IS 'UUIDv7';
COMMENT ON COLUMN policy.blocks.organization IS 'A block stops nothing of another organization';
COMMENT ON COLUMN policy.blocks.subject_kind IS 'agent, user, session, credential or integration';
COMMENT ON COLUMN policy.blocks.subject_id IS 'SPIFFE ID, user, session id, <integration>/<name> or integration';
COMMENT ON COLUMN policy.blocks.reason IS 'Why, for administrators and auditors; the blocked are not told';
COMMENT ON COLUMN policy.blocks.added_by IS 'SPIFFE ID of the administrator who asked last';
COMMENT ON COLUMN policy.blocks.added_at IS 'When it was first asked for, by the clock of Postgres';
COMMENT ON COLUMN policy.blocks.until IS 'When it ends by itself; null: when it is removed';

-- The block that stops this asker from getting this credential, if any; null for what does not apply. One look at the unique
-- index for each of the five. Child sessions, once there are any, bring the sessions above them along.
CREATE FUNCTION policy.block_for(
  p_organization text,
  p_session_id uuid,
  p_agent_id text,
  p_user text,
  p_credential text,
  p_at timestamptz
) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT b.block_id FROM (VALUES
    ('agent', p_agent_id), ('user', p_user), ('session', p_session_id::text), ('credential', p_credential),
    ('integration', split_part(p_credential, '/', 1))) AS subject (kind, id)
  JOIN policy.blocks b ON b.organization = p_organization AND b.subject_kind = subject.kind AND b.subject_id = subject.id
  WHERE b.until IS NULL OR b.until > p_at
  LIMIT 1
$$;
COMMENT ON FUNCTION policy.block_for IS 'The block that stops an asker from getting a credential, or null';

-- As before, and refuses what is blocked.
-- outcome: reserved | session_ended | blocked | limit_per_session | limit_concurrent | still_running | other_body
CREATE OR REPLACE FUNCTION policy.reserve_lease(
  p_lease_id uuid,
  p_session_id uuid,
  p_organization text,
  p_credential text,
  p_per_session integer,
  p_concurrent integer,
  p_grant_seconds integer,
  p_hold_seconds integer,
  p_idempotency_key text,
  p_idempotency_body text,
  OUT outcome text,
  OUT decided_at timestamptz,
  OUT session_expires_at timestamptz,
  OUT superseded_lease_id uuid
) LANGUAGE plpgsql AS $$
DECLARE
  first_lease policy.reservations%ROWTYPE;
  holder_agent text;
  holder_user text;
  held integer;
BEGIN
  IF p_per_session IS NOT NULL OR p_idempotency_key IS NOT NULL THEN
    SELECT s.expires_at, s.agent_id, s.user_name INTO session_expires_at, holder_agent, holder_user
      FROM policy.sessions s
      WHERE s.id = p_session_id AND s.organization = p_organization AND s.kind = 'agent' AND s.ended_at IS NULL
      FOR NO KEY UPDATE;
  ELSE
    SELECT s.expires_at, s.agent_id, s.user_name INTO session_expires_at, holder_agent, holder_user
      FROM policy.sessions s
      WHERE s.id = p_session_id AND s.organization = p_organization AND s.kind = 'agent' AND s.ended_at IS NULL;
  END IF;

  IF p_concurrent IS NOT NULL THEN
    PERFORM pg_advisory_xact_lock(hashtextextended('mayfly concurrent ' || p_organization || ' ' || p_credential, 0));
  END IF;

  -- Not now(), which is when the transaction began: it may have waited for a lock since.
  decided_at := clock_timestamp();

  -- A second of life at least, since no lease is shorter.
  IF session_expires_at IS NULL OR session_expires_at < decided_at + interval '1 second' THEN
    outcome := 'session_ended';
    RETURN;
  END IF;

  -- After the clock was read, so that what slips by a block that commits at this moment was decided before the fence that
  -- follows the block, and is stopped there.
  IF policy.block_for(p_organization, p_session_id, holder_agent, holder_user, p_credential, decided_at) IS NOT NULL THEN
    outcome := 'blocked';
    RETURN;
  END IF;

  IF p_idempotency_key IS NOT NULL THEN
    SELECT * INTO first_lease FROM policy.reservations r
      WHERE r.session_id = p_session_id AND r.idempotency_key = p_idempotency_key AND r.replaced_by IS NULL;
    IF FOUND THEN
      IF first_lease.idempotency_body <> p_idempotency_body THEN
        outcome := 'other_body';
        RETURN;
      END IF;
      IF first_lease.ended_at IS NULL THEN
        IF first_lease.issued_at IS NULL AND first_lease.grant_expires_at > decided_at THEN
          outcome := 'still_running';
          RETURN;
        END IF;
        superseded_lease_id := first_lease.lease_id;
      END IF;
    END IF;
  END IF;

  -- What is superseded does not stand in the way of its own replacement. It counts for every later request until it
  -- has really ended. Counting stops at the limit.
  IF p_per_session IS NOT NULL THEN
    SELECT count(*) INTO held FROM (
      SELECT FROM policy.reservations r
        WHERE r.organization = p_organization AND r.credential = p_credential AND r.session_id = p_session_id
          AND r.ended_at IS NULL AND (r.held_until IS NULL OR r.held_until > decided_at)
          AND r.lease_id IS DISTINCT FROM superseded_lease_id
        LIMIT p_per_session
    ) live;
    IF held >= p_per_session THEN
      outcome := 'limit_per_session';
      RETURN;
    END IF;
  END IF;
  IF p_concurrent IS NOT NULL THEN
    SELECT count(*) INTO held FROM (
      SELECT FROM policy.reservations r
        WHERE r.organization = p_organization AND r.credential = p_credential
          AND r.ended_at IS NULL AND (r.held_until IS NULL OR r.held_until > decided_at)
          AND r.lease_id IS DISTINCT FROM superseded_lease_id
        LIMIT p_concurrent
    ) live;
    IF held >= p_concurrent THEN
      outcome := 'limit_concurrent';
      RETURN;
    END IF;
  END IF;

  IF first_lease.lease_id IS NOT NULL THEN
    UPDATE policy.reservations SET replaced_by = p_lease_id WHERE lease_id = first_lease.lease_id;
  END IF;
  INSERT INTO policy.reservations
    (lease_id, organization, session_id, credential, reserved_at, grant_expires_at, held_until,
     idempotency_key, idempotency_body)
  VALUES
    (p_lease_id, p_organization, p_session_id, p_credential, decided_at,
     decided_at + make_interval(secs => p_grant_seconds),
     decided_at + make_interval(secs => p_grant_seconds + p_hold_seconds),
     p_idempotency_key, p_idempotency_body);
  outcome := 'reserved';
END
$$;
