-- What a renewal starts from. Only leases that can be renewed have a row, so that the others cost nothing.
CREATE TABLE policy.renewable_leases (
  lease_id uuid PRIMARY KEY REFERENCES policy.reservations ON DELETE CASCADE,
  started_at timestamptz NOT NULL,
  renewals integer NOT NULL DEFAULT 0 CHECK (renewals >= 0),
  ttl_seconds integer NOT NULL CHECK (ttl_seconds > 0),
  scope jsonb NOT NULL,
  claimed_task text,
  justification text
);

COMMENT ON TABLE policy.renewable_leases IS 'Granted leases that may be renewed, with what they were granted with; goes with the reservation';
COMMENT ON COLUMN policy.renewable_leases.lease_id IS 'jti of the grant';
COMMENT ON COLUMN policy.renewable_leases.started_at IS 'When it, or the first of its predecessors, was granted; the maximum life counts from here';
COMMENT ON COLUMN policy.renewable_leases.renewals IS 'Renewals so far, with those of its predecessors, as events have told; revocation, which knows for certain, counts those in place again';
COMMENT ON COLUMN policy.renewable_leases.ttl_seconds IS 'TTL of the grant: what a renewal that asks for nothing gets';
COMMENT ON COLUMN policy.renewable_leases.scope IS 'Effective scope; a renewal is refused when the credential no longer allows it';
COMMENT ON COLUMN policy.renewable_leases.claimed_task IS 'What the agent said it was doing';
COMMENT ON COLUMN policy.renewable_leases.justification IS 'Why the agent said it needed it';

-- Grants a lease its successor. The two count as one (policy.is_stood_for), so a renewal is asked for no limit; it takes the place
-- that the lease has, and is refused where the lease has none. Only two links of a chain ever live at a time: a lease whose own
-- predecessor may still live gets no successor yet.
--
-- Takes the session's row, like the reservation of a repeated Idempotency-Key: a lease is either superseded or rotated.
--
-- outcome: reserved | lease_ended | limit_cleanups | rotated (it has had a successor, or one may still be minted) |
-- predecessor_lives (until about predecessor_ends_at, where that is known) | place_lost (no event has told in time that it was issued)
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
  at := clock_timestamp();
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

COMMENT ON FUNCTION policy.reserve_successor IS 'Reserves the lease that takes the place of another';
