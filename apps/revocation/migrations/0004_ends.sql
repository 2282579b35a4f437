-- Ends that somebody asked for. The fence and the move of what it finds live are one transaction: an answer means that
-- both are durable. Runs at READ COMMITTED, like 0003: what the lock waited for is seen.

CREATE FUNCTION revocation.set_fence(org text, kind text, id text, only_agent text, at timestamptz, why text) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO revocation.fences AS f (organization, subject_kind, subject_id, agent_id, instant, reason)
  VALUES (org, kind, id, coalesce(only_agent, ''), at, why)
  ON CONFLICT (organization, subject_kind, subject_id, agent_id) DO UPDATE SET
    instant = greatest(f.instant, excluded.instant), reason = excluded.reason, recorded_at = excluded.recorded_at
$$;

-- Ends one lease and claims it for the caller, who tries at once.
-- only_agent: whose lease it has to be, or NULL for an administrator of the organization.
-- fence_unknown: fence a lease that is not here, because its mint may be under way.
-- outcome: claimed (with the row as it now is) | ending | already_ended | not_found
CREATE FUNCTION revocation.end_lease(
  org text,
  id uuid,
  only_agent text,
  why text,
  cause text,
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
  ELSIF lease.state <> 'active' AND lease.claimed_until > clock_timestamp() THEN
    outcome := 'ending';
  ELSE
    UPDATE revocation.leases l SET
      state = CASE l.state WHEN 'active' THEN 'revoking' ELSE l.state END,
      end_cause = coalesce(l.end_cause, 'revoked'),
      end_reason = coalesce(l.end_reason, why),
      end_traceparent = coalesce(l.end_traceparent, cause),
      due_at = least(l.due_at, clock_timestamp()),
      attempts = l.attempts + 1,
      claimed_until = clock_timestamp() + claim
    WHERE l.lease_id = id
    RETURNING l.* INTO lease;
    outcome := 'claimed';
  END IF;
END
$$;

-- Fences a subject and has all its live leases end: due now, for whichever replica claims them first.
-- for_ever: the subject never comes back (a session that has ended), so no later grant for it counts either.
-- Answers with up to told_at_most leases, each with the number of all that matched; no row when none did.
CREATE FUNCTION revocation.revoke_subject(
  org text,
  kind text,
  id text,
  for_ever boolean,
  why text,
  cause text,
  told_at_most integer
) RETURNS TABLE (lease_id uuid, revocability jsonb, native_expires_at timestamptz, matched bigint) LANGUAGE plpgsql AS $$
DECLARE
  condition text := CASE kind
    WHEN 'lease' THEN 'l.lease_id = $2::uuid'
    WHEN 'session' THEN '(l.session_id = $2::uuid OR l.parent_session_id = $2::uuid)'
    WHEN 'agent' THEN 'l.agent_id = $2'
    WHEN 'user' THEN 'l."user" = $2'
    WHEN 'credential' THEN 'l.credential = $2'
    -- Every credential of an integration lies between these two: "0" follows "/".
    WHEN 'integration' THEN 'l.integration = $2 AND l.credential >= $2 || ''/'' AND l.credential < $2 || ''0'''
    WHEN 'organization' THEN '$2 = $1'
  END;
BEGIN
  PERFORM pg_advisory_xact_lock(revocation.subject_lock(org, kind, id));
  PERFORM revocation.set_fence(org, kind, id, NULL, CASE WHEN for_ever THEN 'infinity' ELSE clock_timestamp() END, why);
  -- Planned for this kind each time, so that each uses its own index.
  RETURN QUERY EXECUTE format($query$
    -- Locked in one order everywhere, so that two who end many leases never deadlock.
    WITH matching AS MATERIALIZED (
      SELECT l.lease_id FROM revocation.leases l
      WHERE l.organization = $1 AND l.granted_at IS NOT NULL AND l.ended_at IS NULL AND %s
      ORDER BY l.lease_id FOR NO KEY UPDATE),
    moved AS (
      UPDATE revocation.leases l SET
        state = CASE l.state WHEN 'active' THEN 'revoking' ELSE l.state END,
        end_cause = coalesce(l.end_cause, 'revoked'),
        end_reason = coalesce(l.end_reason, $3),
        end_traceparent = coalesce(l.end_traceparent, $4),
        due_at = least(l.due_at, clock_timestamp())
      FROM matching WHERE l.lease_id = matching.lease_id
      RETURNING l.lease_id, l.revocability, l.native_expires_at)
    SELECT m.lease_id, m.revocability, m.native_expires_at, count(*) OVER () FROM moved m LIMIT $5
  $query$, condition) USING org, id, why, cause, told_at_most;
END
$$;
