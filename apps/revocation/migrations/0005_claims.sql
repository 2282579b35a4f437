-- Claims that are short and told apart, what last went wrong, and which mint a lease came from.

ALTER TABLE revocation.leases
  ADD COLUMN claims integer NOT NULL DEFAULT 0,
  ADD COLUMN last_error text,
  ADD COLUMN mint_id uuid;

COMMENT ON COLUMN revocation.leases.attempts IS 'How often its end or clean-up was tried';
COMMENT ON COLUMN revocation.leases.claims IS 'Grows with every claim and whenever one is taken away: who holds an older number changes nothing any more';
COMMENT ON COLUMN revocation.leases.claimed_until IS 'Until then one replica works on it, and prolongs it while it does; after that it is anyone''s';
COMMENT ON COLUMN revocation.leases.last_error IS 'Code of the last failed attempt to end it or to clean up after it; null when none failed. Never an upstream''s text';
COMMENT ON COLUMN revocation.leases.mint_id IS 'The redemption of the grant that became this lease: of one grant redeemed twice, only this one may be undone by its abandonment';

-- What is being tried again. Small: only what has failed and is not done.
CREATE INDEX leases_failing ON revocation.leases (organization, lease_id) WHERE last_error IS NOT NULL AND due_at IS NOT NULL;

-- As before, and keeps which mint it was.
CREATE OR REPLACE FUNCTION revocation.activate(
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

-- As before, but a lease that another redemption of the grant has made active stays (outcome: another_mint).
CREATE OR REPLACE FUNCTION revocation.abandon(
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
        attempts = 0, claims = claims + 1, claimed_until = NULL, last_error = NULL
      WHERE lease_id = l.lease_id;
      PERFORM revocation.append_event(event);
      outcome := 'failed';
    -- By this very mint. One grant redeemed twice (a stream that forgot its message ids) has two, and only one is released:
    -- the other's end is no reason to end it.
    WHEN known.state = 'active' AND known.mint_id IS NOT DISTINCT FROM l.mint_id THEN
      UPDATE revocation.leases SET
        state = 'revoking', end_cause = 'revoked', end_reason = 'abandoned', end_traceparent = cause,
        due_at = clock_timestamp()
      WHERE lease_id = l.lease_id;
      outcome := 'revoking';
    -- Orphaned in the meantime. A handle finds more than a name does.
    WHEN known.cleanup = 'pending' AND l.handle IS NOT NULL AND NOT nothing_left THEN
      UPDATE revocation.leases SET
        handle = l.handle, due_at = clock_timestamp(), claims = claims + 1, claimed_until = NULL
      WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    -- Cleaned up before this mint, slow or paused, came to its end: it has made something since and could not undo it.
    WHEN known.state IN ('failed', 'orphaned') AND l.handle IS NOT NULL AND NOT nothing_left THEN
      UPDATE revocation.leases SET
        cleanup = 'pending', handle = l.handle, due_at = clock_timestamp(), attempts = 0, claims = claims + 1,
        claimed_until = NULL, last_error = NULL
      WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    WHEN known.state = 'active' THEN
      outcome := 'another_mint';
    ELSE
      outcome := 'unchanged';
  END CASE;
END
$$;

-- As before, with a number for the claim.
CREATE OR REPLACE FUNCTION revocation.end_lease(
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
      claims = l.claims + 1,
      claimed_until = clock_timestamp() + claim
    WHERE l.lease_id = id
    RETURNING l.* INTO lease;
    outcome := 'claimed';
  END IF;
END
$$;
