-- What can't be called back (expiry_only) works until its native expiry, however its lease ends. It holds its place within the limits
-- for as long: otherwise a loop of minting and giving back would hold any number of secrets that work.
ALTER TABLE policy.reservations ADD COLUMN works_until timestamptz;

COMMENT ON COLUMN policy.reservations.works_until IS 'When what an ended lease left in the world stops working by itself, where it could not be called back; it counts against limits until then; null for the others';
COMMENT ON COLUMN policy.reservations.ended_at IS 'When any end of the lease was seen; it counts no longer, unless works_until is ahead';
COMMENT ON TABLE policy.reservations IS 'One row per granted lease. It may live while ended_at is null and held_until is null or ahead, and then it counts against limits, unless another link of its chain counts in its place (policy.is_stood_for). One that has ended counts for itself while works_until is ahead. No reference to sessions: a lease that cannot be ended counts for longer than its session is kept.';

CREATE INDEX reservations_working ON policy.reservations (organization, credential, session_id, works_until)
  WHERE works_until IS NOT NULL;

-- As before, and counts what has ended and works on. Nothing stands for that: each such secret works by itself.
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
  p_config_version integer,
  p_orchestration text,
  p_integration text,
  p_failing_cleanups integer,
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

  IF policy.too_many_failing_cleanups(p_organization, p_orchestration, p_integration, p_failing_cleanups) THEN
    outcome := 'limit_cleanups';
    RETURN;
  END IF;

  -- What is superseded does not stand in the way of its own replacement. It counts for every later request until it
  -- has really ended. Counting stops at the limit.
  IF p_per_session IS NOT NULL THEN
    SELECT count(*) INTO held FROM (
      SELECT FROM policy.reservations r
        WHERE r.organization = p_organization AND r.credential = p_credential AND r.session_id = p_session_id
          AND r.ended_at IS NULL AND (r.held_until IS NULL OR r.held_until > decided_at)
          AND r.lease_id IS DISTINCT FROM superseded_lease_id
          AND (coalesce(r.successor_id, r.predecessor_id) IS NULL
               OR NOT policy.is_stood_for(r, decided_at, superseded_lease_id))
      UNION ALL
      SELECT FROM policy.reservations r
        WHERE r.organization = p_organization AND r.credential = p_credential AND r.session_id = p_session_id
          AND r.works_until > decided_at AND r.ended_at IS NOT NULL
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
          AND (coalesce(r.successor_id, r.predecessor_id) IS NULL
               OR NOT policy.is_stood_for(r, decided_at, superseded_lease_id))
      UNION ALL
      SELECT FROM policy.reservations r
        WHERE r.organization = p_organization AND r.credential = p_credential
          AND r.works_until > decided_at AND r.ended_at IS NOT NULL
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
