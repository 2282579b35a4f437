-- The commit point of a mint, what it must not race with, and its undoing. Functions, not single statements: each
-- statement of a volatile function sees what was committed while the one before waited for a lock, whereas all parts of
-- one statement see what was there before the wait.

-- The lock of a subject. A fence takes it exclusively, an activation takes those of all its subjects shared: so
-- activations never wait for each other, and an activation and a fence of one of its subjects never overlap. Either
-- the activation committed first, and the revocation that set the fence sees the lease; or the fence did, and the
-- activation sees the fence. Activations take only shared locks and a fence takes exactly one, so there is no deadlock.
CREATE FUNCTION revocation.subject_lock(organization text, kind text, id text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(concat_ws(E'\x1f', 'mayfly fence', organization, kind, id), 0);

-- RFC 3339 in UTC, milliseconds: how events tell instants.
CREATE FUNCTION revocation.instant(at timestamptz) RETURNS text
LANGUAGE sql STABLE
RETURN to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');

CREATE FUNCTION revocation.append_event(event jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO revocation.outbox (event_id, message_id, event) VALUES ((event ->> 'id')::uuid, event ->> 'id', event::text)
$$;

-- outcome: active | fenced | maybe_fenced (granted in the second in which the fence was set) | ended
--
-- facts: columns of revocation.leases, from the verified grant and the mint. event: credential.issued without the two
-- instants that only this function knows. tolerance: how far policy's reading of Postgres' clock may be ahead.
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
  certain boolean;
BEGIN
  PERFORM pg_advisory_xact_lock_shared(revocation.subject_lock(l.organization, subject.kind, subject.id))
    FROM (VALUES ('lease', l.lease_id::text), ('session', l.session_id::text), ('session', l.parent_session_id::text),
                 ('agent', l.agent_id), ('user', l."user"), ('credential', l.credential),
                 ('integration', l.integration), ('organization', l.organization)) AS subject (kind, id)
    WHERE subject.id IS NOT NULL;

  SELECT bool_or(f.instant >= l.granted_at + interval '1 millisecond') INTO certain
    FROM (VALUES ('lease', l.lease_id::text), ('session', l.session_id::text), ('session', l.parent_session_id::text),
                 ('agent', l.agent_id), ('user', l."user"), ('credential', l.credential),
                 ('integration', l.integration), ('organization', l.organization)) AS subject (kind, id)
    JOIN revocation.fences f ON f.organization = l.organization AND f.subject_kind = subject.kind AND f.subject_id = subject.id
    WHERE f.agent_id IN ('', l.agent_id) AND f.instant >= l.granted_at - tolerance;
  IF certain IS NOT NULL THEN
    outcome := CASE WHEN certain THEN 'fenced' ELSE 'maybe_fenced' END;
    RETURN;
  END IF;

  -- Not now(), which is when the transaction began: it may have waited for a lock since.
  lease_issued_at := clock_timestamp();
  lease_expires_at := least(lease_issued_at + make_interval(secs => l.ttl_seconds), l.native_expires_at);

  INSERT INTO revocation.leases AS known
    (lease_id, state, organization, session_id, parent_session_id, agent_id, agent_role, "user", task, claimed_task,
     credential, integration, provider, scope, ttl_seconds, config_version, revocability, renewable,
     issuance_traceparent, granted_at, issued_at, expires_at, native_expires_at, handle, fingerprints, use_keys, due_at)
  VALUES
    (l.lease_id, 'active', l.organization, l.session_id, l.parent_session_id, l.agent_id, l.agent_role, l."user", l.task,
     l.claimed_task, l.credential, l.integration, l.provider, l.scope, l.ttl_seconds, l.config_version, l.revocability,
     l.renewable, l.issuance_traceparent, l.granted_at, lease_issued_at, lease_expires_at, l.native_expires_at, l.handle,
     l.fingerprints, l.use_keys,
     -- What cannot be ended early works until its native expiry, so it is not over before.
     CASE WHEN l.revocability ->> 'kind' = 'expiry_only' THEN coalesce(l.native_expires_at, lease_expires_at) ELSE lease_expires_at END)
  -- The grant's facts replace those that the intent told: only the grant is signed by policy.
  ON CONFLICT (lease_id) DO UPDATE SET
    (state, organization, session_id, parent_session_id, agent_id, agent_role, "user", task, claimed_task,
     credential, integration, provider, scope, ttl_seconds, config_version, revocability, renewable,
     issuance_traceparent, granted_at, issued_at, expires_at, native_expires_at, handle, fingerprints, use_keys, due_at,
     attempts, claimed_until)
    = (excluded.state, excluded.organization, excluded.session_id, excluded.parent_session_id, excluded.agent_id,
       excluded.agent_role, excluded."user", excluded.task, excluded.claimed_task, excluded.credential,
       excluded.integration, excluded.provider, excluded.scope, excluded.ttl_seconds, excluded.config_version,
       excluded.revocability, excluded.renewable, excluded.issuance_traceparent, excluded.granted_at, excluded.issued_at,
       excluded.expires_at, excluded.native_expires_at, excluded.handle, excluded.fingerprints, excluded.use_keys,
       excluded.due_at, 0, NULL)
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

-- A mint that released nothing. From absent or intended it has failed; if it did become active (the activation's answer
-- was lost) it is revoked, at once; in any other state its end is under way or done.
-- outcome: failed | revoking | unchanged
CREATE FUNCTION revocation.abandon(
  facts jsonb,
  event jsonb,
  why text,
  nothing_left boolean,
  cause text,
  OUT outcome text
) LANGUAGE plpgsql AS $$
DECLARE
  l revocation.leases := jsonb_populate_record(NULL::revocation.leases, facts);
  upstream text := CASE WHEN nothing_left THEN 'done' ELSE 'pending' END;
  known revocation.leases;
BEGIN
  INSERT INTO revocation.leases
    (lease_id, state, organization, session_id, parent_session_id, agent_id, agent_role, "user", task, claimed_task,
     credential, integration, provider, scope, ttl_seconds, config_version, issuance_traceparent,
     ended_at, end_reason, end_traceparent, cleanup, due_at, handle)
  VALUES
    (l.lease_id, 'failed', l.organization, l.session_id, l.parent_session_id, l.agent_id, l.agent_role, l."user", l.task,
     l.claimed_task, l.credential, l.integration, l.provider, l.scope, l.ttl_seconds, l.config_version,
     l.issuance_traceparent, clock_timestamp(), why, cause, upstream,
     CASE WHEN NOT nothing_left THEN clock_timestamp() END, CASE WHEN NOT nothing_left THEN l.handle END)
  ON CONFLICT (lease_id) DO NOTHING;
  IF FOUND THEN
    PERFORM revocation.append_event(event);
    outcome := 'failed';
    RETURN;
  END IF;

  SELECT * INTO STRICT known FROM revocation.leases WHERE lease_id = l.lease_id FOR NO KEY UPDATE;
  CASE
    WHEN known.state = 'intended' THEN
      UPDATE revocation.leases SET
        state = 'failed', ended_at = clock_timestamp(), end_reason = why, end_traceparent = cause, cleanup = upstream,
        organization = l.organization, integration = l.integration, provider = l.provider,
        credential = l.credential, config_version = l.config_version,
        due_at = CASE WHEN NOT nothing_left THEN clock_timestamp() END,
        handle = CASE WHEN NOT nothing_left THEN l.handle END,
        attempts = 0, claimed_until = NULL
      WHERE lease_id = l.lease_id;
      PERFORM revocation.append_event(event);
      outcome := 'failed';
    WHEN known.state = 'active' THEN
      UPDATE revocation.leases SET
        state = 'revoking', end_cause = 'revoked', end_reason = 'abandoned', end_traceparent = cause,
        due_at = clock_timestamp()
      WHERE lease_id = l.lease_id;
      outcome := 'revoking';
    -- Orphaned in the meantime. A handle finds more than a name does.
    WHEN known.cleanup = 'pending' AND l.handle IS NOT NULL AND NOT nothing_left THEN
      UPDATE revocation.leases SET handle = l.handle WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    -- Cleaned up before this mint, slow or paused, came to its end: it has made something since and could not undo it.
    WHEN known.state IN ('failed', 'orphaned') AND l.handle IS NOT NULL AND NOT nothing_left THEN
      UPDATE revocation.leases SET
        cleanup = 'pending', handle = l.handle, due_at = clock_timestamp(), attempts = 0, claimed_until = NULL
      WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    ELSE
      outcome := 'unchanged';
  END CASE;
END
$$;
