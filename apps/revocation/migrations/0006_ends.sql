-- Ends of single leases that somebody asked for. The fence and the move are one transaction: an answer means that both are durable.

-- Ends one lease and claims it for the caller, who tries at once.
-- only_agent: whose lease it has to be, or NULL for an administrator of the organization.
-- replica: who the caller is; the claim counts while that replica lives. claim: the longest that it lasts.
-- fence_unknown: fence a lease that is not here, because its mint may be under way.
-- outcome: claimed (with the row as it now is) | ending | already_ended | not_found
CREATE FUNCTION revocation.end_lease(
  org text,
  id uuid,
  only_agent text,
  why text,
  cause text,
  replica uuid,
  claim interval,
  fence_unknown boolean,
  OUT outcome text,
  OUT lease revocation.leases
) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(revocation.subject_lock(org, 'lease', id::text));
  SELECT l.* INTO lease FROM revocation.leases l WHERE l.lease_id = id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    IF fence_unknown THEN
      PERFORM revocation.set_fence(org, 'lease', id::text, only_agent, 'infinity', why);
    END IF;
    outcome := 'not_found';
  ELSIF lease.organization <> org OR lease.agent_id <> coalesce(only_agent, lease.agent_id) THEN
    lease := NULL;
    outcome := 'not_found';
  ELSIF lease.ended_at IS NOT NULL THEN
    outcome := 'already_ended';
  ELSIF lease.state = 'intended' THEN
    PERFORM revocation.set_fence(org, 'lease', id::text, only_agent, 'infinity', why);
    outcome := 'ending';
  ELSIF lease.state <> 'active' AND lease.claimed_until > clock_timestamp()
    AND EXISTS (SELECT FROM revocation.replicas r WHERE r.replica_id = lease.claimed_by) THEN
    outcome := 'ending';
  ELSE
    UPDATE revocation.leases l SET
      state = CASE l.state WHEN 'active' THEN 'revoking' ELSE l.state END,
      end_cause = coalesce(l.end_cause, 'revoked'),
      end_reason = coalesce(l.end_reason, why),
      end_traceparent = coalesce(l.end_traceparent, cause),
      due_at = least(l.due_at, clock_timestamp()),
      attempts = l.attempts + 1,
      claims = l.claims + 1,
      claimed_by = replica,
      claimed_until = clock_timestamp() + claim
    WHERE l.lease_id = id
    RETURNING l.* INTO lease;
    outcome := 'claimed';
  END IF;
END
$$;
