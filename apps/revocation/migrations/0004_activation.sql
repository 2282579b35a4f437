-- The commit point of a mint: the lease becomes active, unless a fence came first.
--
-- A lease never outlives its session. Policy clamps the TTL at the time of the decision, but a lease lives from its activation on,
-- which may come many seconds later. So the grant brings the session's end along; the lease is cut there, and nothing becomes
-- active after it.
--
-- facts: columns of revocation.leases, from the verified grant and the mint, and session_expires_at. event: credential.issued
-- without the two instants that only this function knows. tolerance: how far policy's reading of Postgres' clock may be ahead.
-- outcome: active | fenced | maybe_fenced (granted in the second in which the fence was set) | ended
CREATE FUNCTION revocation.activate(
  facts jsonb,
  event jsonb,
  tolerance interval,
  OUT outcome text,
  OUT lease_issued_at timestamptz,
  OUT lease_expires_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
  l revocation.leases := jsonb_populate_record(NULL::revocation.leases, facts);
  session_expires_at timestamptz := facts ->> 'session_expires_at';
  certain boolean;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(revocation.subject_lock(subject.organization, subject.kind, subject.id))
    FROM revocation.subjects_of(l) AS subject;

  SELECT bool_or(f.instant >= l.granted_at + interval '1 millisecond') INTO certain
    FROM revocation.subjects_of(l) AS subject
    JOIN revocation.fences f ON f.organization = subject.organization AND f.subject_kind = subject.kind AND f.subject_id = subject.id
    WHERE f.agent_id IN ('', l.agent_id) AND f.instant >= l.granted_at - tolerance;
  IF certain IS NOT NULL THEN
    outcome := CASE WHEN certain THEN 'fenced' ELSE 'maybe_fenced' END;
    RETURN;
  END IF;

  -- Not now(), which is when the transaction began: it may have waited for a lock since.
  lease_issued_at := clock_timestamp();
  IF session_expires_at <= lease_issued_at THEN
    outcome := 'ended';
    RETURN;
  END IF;
  -- least() passes over what is null.
  lease_expires_at := least(lease_issued_at + make_interval(secs => l.ttl_seconds), l.native_expires_at, session_expires_at);

  INSERT INTO revocation.leases AS known
    (lease_id, state, organization, session_id, parent_session_id, agent_id, agent_role, "user", task, claimed_task,
     credential, integration, provider, scope, ttl_seconds, config_version, revocability, renewable,
     issuance_traceparent, granted_at, issued_at, expires_at, native_expires_at, handle, fingerprints, use_keys, mint_id,
     due_at)
  VALUES
    (l.lease_id, 'active', l.organization, l.session_id, l.parent_session_id, l.agent_id, l.agent_role, l."user", l.task,
     l.claimed_task, l.credential, l.integration, l.provider, l.scope, l.ttl_seconds, l.config_version, l.revocability,
     l.renewable, l.issuance_traceparent, l.granted_at, lease_issued_at, lease_expires_at, l.native_expires_at, l.handle,
     l.fingerprints, l.use_keys, l.mint_id,
     -- What cannot be ended early works until its native expiry, so it is not over before.
     CASE WHEN l.revocability ->> 'kind' = 'expiry_only' THEN coalesce(l.native_expires_at, lease_expires_at) ELSE lease_expires_at END)
  -- The grant's facts replace those that the intent told: only the grant is signed by policy.
  ON CONFLICT (lease_id) DO UPDATE SET
    (state, organization, session_id, parent_session_id, agent_id, agent_role, "user", task, claimed_task,
     credential, integration, provider, scope, ttl_seconds, config_version, revocability, renewable,
     issuance_traceparent, granted_at, issued_at, expires_at, native_expires_at, handle, fingerprints, use_keys, mint_id,
     due_at, attempts, claims, claimed_until, last_error)
    = (excluded.state, excluded.organization, excluded.session_id, excluded.parent_session_id, excluded.agent_id,
       excluded.agent_role, excluded."user", excluded.task, excluded.claimed_task, excluded.credential,
       excluded.integration, excluded.provider, excluded.scope, excluded.ttl_seconds, excluded.config_version,
       excluded.revocability, excluded.renewable, excluded.issuance_traceparent, excluded.granted_at, excluded.issued_at,
       excluded.expires_at, excluded.native_expires_at, excluded.handle, excluded.fingerprints, excluded.use_keys,
       excluded.mint_id, excluded.due_at, 0, known.claims + 1, NULL, NULL)
    WHERE known.state = 'intended';
  IF NOT FOUND THEN
    outcome := 'ended';
    RETURN;
  END IF;

  PERFORM revocation.append_event(jsonb_set(event, '{data}', (event -> 'data') || jsonb_build_object(
    'issued_at', revocation.instant(lease_issued_at), 'expires_at', revocation.instant(lease_expires_at))));
  outcome := 'active';
END
$$;
