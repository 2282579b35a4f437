-- What a renewal starts from. Only leases that can be renewed have a row, so that the others cost nothing. By rotation a lease
-- gets a successor, and the two count as one.
CREATE TABLE policy.renewable_leases (
  lease_id uuid PRIMARY KEY REFERENCES policy.reservations ON DELETE CASCADE,
  started_at timestamptz NOT NULL,
  renewals integer NOT NULL DEFAULT 0 CHECK (renewals >= 0),
  predecessor_id uuid,
  successor_id uuid,
  ttl_seconds integer NOT NULL CHECK (ttl_seconds > 0),
  scope jsonb NOT NULL,
  claimed_task text,
  justification text
);

COMMENT ON TABLE policy.renewable_leases IS 'Granted leases that may be renewed, with what they were granted with; goes with the reservation';
COMMENT ON COLUMN policy.renewable_leases.lease_id IS 'jti of the grant';
COMMENT ON COLUMN policy.renewable_leases.started_at IS 'When it, or the first of its predecessors, was granted; the maximum life counts from here';
COMMENT ON COLUMN policy.renewable_leases.renewals IS 'Renewals so far, with those of its predecessors, as events have told; revocation, which knows for certain, counts those in place again';
COMMENT ON COLUMN policy.renewable_leases.predecessor_id IS 'The lease that it takes the place of';
COMMENT ON COLUMN policy.renewable_leases.successor_id IS 'The lease that was last granted to take its place';
COMMENT ON COLUMN policy.renewable_leases.ttl_seconds IS 'TTL of the grant: what a renewal that asks for nothing gets';
COMMENT ON COLUMN policy.renewable_leases.scope IS 'Effective scope; a renewal is refused when the credential no longer allows it';
COMMENT ON COLUMN policy.renewable_leases.claimed_task IS 'What the agent said it was doing';
COMMENT ON COLUMN policy.renewable_leases.justification IS 'Why the agent said it needed it';

-- Grants a lease its successor. The successor does not count as long as its predecessor stands for it: held_until is over from
-- the start. Once it is issued, the successor counts and the predecessor no longer does.
-- outcome: reserved | lease_ended | limit_cleanups | rotated (a successor lives, or may still be minted)
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
  OUT outcome text
) LANGUAGE plpgsql AS $$
DECLARE
  old policy.renewable_leases;
BEGIN
  SELECT l.* INTO old FROM policy.renewable_leases l WHERE l.lease_id = p_predecessor_id FOR NO KEY UPDATE;
  IF NOT FOUND OR NOT EXISTS (
       SELECT FROM policy.reservations r JOIN policy.sessions s ON s.id = r.session_id
       WHERE r.lease_id = p_predecessor_id AND r.organization = p_organization AND r.session_id = p_session_id
         AND r.ended_at IS NULL AND s.ended_at IS NULL) THEN
    outcome := 'lease_ended';
    RETURN;
  END IF;
  IF policy.too_many_failing_cleanups(p_organization, p_orchestration, p_integration, p_failing_cleanups) THEN
    outcome := 'limit_cleanups';
    RETURN;
  END IF;
  IF EXISTS (
       SELECT FROM policy.reservations r
       WHERE r.lease_id = old.successor_id AND r.ended_at IS NULL
         AND (r.issued_at IS NOT NULL
              OR r.grant_expires_at + make_interval(secs => p_hold_seconds) > clock_timestamp())) THEN
    outcome := 'rotated';
    RETURN;
  END IF;
  INSERT INTO policy.reservations
    (lease_id, organization, session_id, credential, reserved_at, grant_expires_at, held_until)
  SELECT p_lease_id, r.organization, r.session_id, r.credential, p_decided_at,
         p_decided_at + make_interval(secs => p_grant_seconds), p_decided_at
    FROM policy.reservations r WHERE r.lease_id = p_predecessor_id;
  INSERT INTO policy.renewable_leases
    (lease_id, started_at, renewals, ttl_seconds, scope, claimed_task, justification, predecessor_id)
  VALUES
    (p_lease_id, old.started_at, old.renewals + 1, old.ttl_seconds, old.scope, old.claimed_task, old.justification,
     p_predecessor_id);
  UPDATE policy.renewable_leases SET successor_id = p_lease_id WHERE lease_id = p_predecessor_id;
  outcome := 'reserved';
END
$$;

COMMENT ON FUNCTION policy.reserve_successor IS 'Reserves the lease that takes the place of another';
