-- A replica learns of a new configuration within a second. Until then it decides by the one before, so the reservation says by which
-- version it was decided, and is refused when there is a newer one: the replica takes that up and decides again.
DROP FUNCTION policy.reserve_lease;

-- As before, and refuses what was decided by an older configuration.
-- outcome: reserved | session_ended | outdated_configuration | blocked | limit_per_session | limit_concurrent | still_running |
-- other_body
CREATE FUNCTION policy.reserve_lease(
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
  p_config_version integer,
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

  -- Against whoever stores a new version of the configuration, who thus knows of every reservation that a decision by an older
  -- one has led to. Last of the locks that are waited for long.
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('mayfly config versions', 0));

  -- Not now(), which is when the transaction began: it may have waited for a lock since.
  decided_at := clock_timestamp();

  -- A second of life at least, since no lease is shorter.
  IF session_expires_at IS NULL OR session_expires_at < decided_at + interval '1 second' THEN
    outcome := 'session_ended';
    RETURN;
  END IF;

  IF EXISTS (SELECT FROM policy.config_versions v WHERE v.version > p_config_version) THEN
    outcome := 'outdated_configuration';
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

COMMENT ON FUNCTION policy.reserve_lease IS 'Checks that a session lives, that the decision was made by the newest configuration, that nothing is blocked and that limits hold, and reserves one lease, all at one instant';
