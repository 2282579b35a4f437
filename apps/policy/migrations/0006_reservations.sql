-- Reservations: what counts against limits, and what a repeated Idempotency-Key finds.
--
-- An end that no event ever told would hold a place within the limits for ever. So the register is asked about leases whose time
-- must be over.
CREATE TABLE policy.reservations (
  lease_id uuid PRIMARY KEY,
  organization text NOT NULL,
  session_id uuid NOT NULL,
  credential text NOT NULL,
  reserved_at timestamptz NOT NULL,
  grant_expires_at timestamptz NOT NULL,
  held_until timestamptz,
  issued_at timestamptz,
  asked_about_at timestamptz,
  ended_at timestamptz,
  idempotency_key text,
  idempotency_body text,
  replaced_by uuid,
  predecessor_id uuid,
  successor_id uuid,
  ends_at timestamptz,
  CHECK ((idempotency_key IS NULL) = (idempotency_body IS NULL))
);

COMMENT ON TABLE policy.reservations IS 'One row per granted lease. It may live while ended_at is null and held_until is null or ahead, and then it counts against limits, unless another link of its chain counts in its place (policy.is_stood_for). No reference to sessions: a lease that cannot be ended counts for longer than its session is kept.';
COMMENT ON COLUMN policy.reservations.lease_id IS 'jti of the grant';
COMMENT ON COLUMN policy.reservations.organization IS 'The organization of the session';
COMMENT ON COLUMN policy.reservations.session_id IS 'The session that asked';
COMMENT ON COLUMN policy.reservations.credential IS '<integration>/<name>';
COMMENT ON COLUMN policy.reservations.reserved_at IS 'When the decision was made; iat of the grant';
COMMENT ON COLUMN policy.reservations.grant_expires_at IS 'Until then the grant may be redeemed';
COMMENT ON COLUMN policy.reservations.held_until IS 'Until then it counts without having been issued; null once issued: it counts until it has ended';
COMMENT ON COLUMN policy.reservations.issued_at IS 'When credential.issued was seen';
COMMENT ON COLUMN policy.reservations.asked_about_at IS 'When the register was last asked whether the lease has ended; null for nearly all, whose end is told by an event in time';
COMMENT ON COLUMN policy.reservations.ended_at IS 'When any end of the lease was seen; it counts no longer';
COMMENT ON COLUMN policy.reservations.idempotency_key IS 'Idempotency-Key of the request; unique within its session';
COMMENT ON COLUMN policy.reservations.idempotency_body IS 'SHA-256 of the body of the request, hex';
COMMENT ON COLUMN policy.reservations.replaced_by IS 'The lease that a repeat of the same key was granted in place of this one';
COMMENT ON COLUMN policy.reservations.predecessor_id IS 'The lease that it takes the place of by rotation';
COMMENT ON COLUMN policy.reservations.successor_id IS 'The lease that was last granted to take its place by rotation; null for nearly all';
COMMENT ON COLUMN policy.reservations.ends_at IS 'When a lease that has a successor ends, at the end of its grace; null for the others and until an event tells';

-- Serves both limits: concurrent by its first two columns, per_session by all three.
CREATE INDEX reservations_live ON policy.reservations (organization, credential, session_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX reservations_idempotency ON policy.reservations (session_id, idempotency_key)
  WHERE idempotency_key IS NOT NULL AND replaced_by IS NULL;
CREATE INDEX reservations_lapsing ON policy.reservations (held_until) WHERE ended_at IS NULL AND held_until IS NOT NULL;
CREATE INDEX reservations_successors ON policy.reservations (predecessor_id) WHERE predecessor_id IS NOT NULL;
CREATE INDEX reservations_ended ON policy.reservations (ended_at) WHERE ended_at IS NOT NULL;

-- Whether another link of its chain counts in the place of a lease that may live. By rotation a lease gets a successor, and
-- lease and successor count as one for as long as either may live:
-- * the successor counts once it has been issued and until it has ended; its predecessor does not count meanwhile;
-- * before that, and when the successor has ended first, the predecessor counts.
-- So the end of either frees no place while the other works. Worked out from what was heard of each lease alone, never stored, so
-- it does not depend on the order in which events come. A successor that has been rotated itself stands for nobody: that happens
-- only after its predecessor has ended.
-- superseded: a lease that is about to end for its own replacement and therefore stands for nobody.
CREATE FUNCTION policy.is_stood_for(r policy.reservations, at timestamptz, superseded uuid)
RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF r.successor_id IS NOT NULL AND EXISTS (
       SELECT FROM policy.reservations s
       WHERE s.predecessor_id = r.lease_id AND s.ended_at IS NULL AND s.issued_at IS NOT NULL AND s.successor_id IS NULL) THEN
    RETURN true;
  END IF;
  RETURN r.predecessor_id IS NOT NULL AND r.issued_at IS NULL AND EXISTS (
    SELECT FROM policy.reservations p
    WHERE p.lease_id = r.predecessor_id AND p.lease_id IS DISTINCT FROM superseded
      AND p.ended_at IS NULL AND (p.held_until IS NULL OR p.held_until > at));
END
$$;

COMMENT ON FUNCTION policy.is_stood_for IS 'Whether a lease takes no place of its own within the limits, because its predecessor or its successor counts for both';

-- The whole of an allowed decision that touches tables, in one round trip and one transaction. A function rather than
-- one statement, because each of its statements sees what was committed while it waited for a lock; the parts of one
-- statement all see what was there before.
--
-- Locks are taken in this order: where something must be counted or found, the session's row (a limit per session, or an
-- idempotency key), then the credential (a limit of concurrent leases); and in any case, shared, the versions of the
-- configuration. Whoever ends a session takes its row alone, so nothing can deadlock.
--
-- A replica learns of a new configuration within a second. Until then it decides by an older one, so the reservation says by
-- which version it was decided, and is refused when there is a newer one: the replica takes that up and decides again.
--
-- Failing clean-ups (0008) are counted without a lock: no reservation adds to them.
--
-- outcome: reserved | session_ended | outdated_configuration | blocked | limit_cleanups | limit_per_session | limit_concurrent |
-- still_running | other_body
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
