-- A successor is reserved under the newest configuration alone, like any other lease: a version that was stored between finding the
-- lease and reserving its successor may have taken the renewal away.
DROP FUNCTION policy.reserve_successor(uuid, uuid, text, uuid, timestamptz, integer, integer, text, text, integer);

-- As in 0007; outcome may also be outdated_configuration. Locks: the session's row, then the versions, shared, as in reserve_lease.
CREATE FUNCTION policy.reserve_successor(
  p_lease_id uuid,
  p_predecessor_id uuid,
  p_organization text,
  p_session_id uuid,
  p_decided_at timestamptz,
  p_grant_seconds integer,
  p_hold_seconds integer,
  p_orchestration text,
  p_integration text,
  p_failing_cleanups integer,
  p_config_version integer,
  OUT outcome text,
  OUT predecessor_ends_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
  old policy.reservations;
  terms policy.renewable_leases;
  at timestamptz;
BEGIN
  PERFORM FROM policy.sessions s WHERE s.id = p_session_id AND s.ended_at IS NULL FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    outcome := 'lease_ended';
    RETURN;
  END IF;
  -- As in reserve_lease: whoever stores a version knows of every successor that an older one has led to.
  PERFORM pg_advisory_xact_lock_shared(hashtextextended('mayfly config versions', 0));
  at := clock_timestamp();
  IF EXISTS (SELECT FROM policy.config_versions v WHERE v.version > p_config_version) THEN
    outcome := 'outdated_configuration';
    RETURN;
  END IF;
  SELECT r.* INTO old FROM policy.reservations r
    WHERE r.lease_id = p_predecessor_id AND r.organization = p_organization AND r.session_id = p_session_id
      AND r.ended_at IS NULL AND r.replaced_by IS NULL;
  SELECT l.* INTO terms FROM policy.renewable_leases l WHERE l.lease_id = old.lease_id;
  IF NOT FOUND THEN
    outcome := 'lease_ended';
    RETURN;
  END IF;
  IF policy.too_many_failing_cleanups(p_organization, p_orchestration, p_integration, p_failing_cleanups) THEN
    outcome := 'limit_cleanups';
    RETURN;
  END IF;
  -- One that was issued and has ended counts here too: the register gives a lease one successor.
  IF EXISTS (
       SELECT FROM policy.reservations s
       WHERE s.predecessor_id = old.lease_id
         AND (s.issued_at IS NOT NULL OR s.ended_at IS NULL AND s.held_until > at)) THEN
    outcome := 'rotated';
    RETURN;
  END IF;
  SELECT p.ends_at INTO predecessor_ends_at FROM policy.reservations p
    WHERE p.lease_id = old.predecessor_id AND p.ended_at IS NULL;
  IF FOUND THEN
    outcome := 'predecessor_lives';
    RETURN;
  END IF;
  IF old.held_until <= at THEN
    outcome := 'place_lost';
    RETURN;
  END IF;
  INSERT INTO policy.reservations
    (lease_id, organization, session_id, credential, reserved_at, grant_expires_at, held_until, predecessor_id)
  VALUES
    (p_lease_id, old.organization, old.session_id, old.credential, p_decided_at,
     p_decided_at + make_interval(secs => p_grant_seconds),
     p_decided_at + make_interval(secs => p_grant_seconds + p_hold_seconds), old.lease_id);
  INSERT INTO policy.renewable_leases
    (lease_id, started_at, renewals, ttl_seconds, scope, claimed_task, justification)
  VALUES
    (p_lease_id, terms.started_at, terms.renewals + 1, terms.ttl_seconds, terms.scope, terms.claimed_task,
     terms.justification);
  UPDATE policy.reservations SET successor_id = p_lease_id WHERE lease_id = old.lease_id;
  outcome := 'reserved';
END
$$;

COMMENT ON FUNCTION policy.reserve_successor IS 'Reserves the lease that takes the place of another, by the newest configuration';
