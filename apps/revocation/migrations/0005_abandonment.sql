-- The undoing of a mint that released nothing. From absent or intended its lease has failed; if it did become active (the
-- activation's answer was lost) it is revoked, at once; in any other state its end is under way or done.
--
-- What the mint may have left upstream is never forgotten. A mint that does not know whether it made something (no answer, or
-- stopped for longer than an intent waits) may tell so when its lease has been cleaned up: then it is looked for once more, not
-- only at the next comparison with the upstream. And a grant that was redeemed twice (a stream that forgot its message ids) may
-- have made two things: the lease of the other redemption stays, and what this one made is kept in other_handle and removed
-- after it.
--
-- facts: columns of revocation.leases; handle and mint_id where there are any. event: credential.failed. why and cause: reason and
-- traceparent of the end. nothing_left: the mint knows that nothing of it is upstream.
-- outcome: failed | revoking | another_mint (active by another redemption of the grant) | unchanged
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
        handle = l.handle, access_ended_at = NULL, due_at = clock_timestamp(), claims = claims + 1, claimed_until = NULL
      WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    -- Cleaned up before this mint, slow or paused, came to its end: it has made something since and could not undo it, or does not
    -- know whether it has. Without a handle it is looked for by its name once more; the look before may have been too early.
    WHEN known.state IN ('failed', 'orphaned') AND (l.handle IS NOT NULL OR known.cleanup = 'done') AND NOT nothing_left THEN
      UPDATE revocation.leases SET
        cleanup = 'pending', access_ended_at = NULL, handle = coalesce(l.handle, handle), due_at = clock_timestamp(), attempts = 0, claims = claims + 1,
        claimed_until = NULL, last_error = NULL
      WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    -- The lease of another redemption of the grant. What this one made is removed after it, not before: where things are found
    -- by the lease's name, removing one removes the other.
    WHEN known.mint_id IS DISTINCT FROM l.mint_id AND known.ended_at IS NULL THEN
      IF l.handle IS NOT NULL AND NOT nothing_left THEN
        UPDATE revocation.leases SET other_handle = l.handle WHERE lease_id = l.lease_id;
      END IF;
      outcome := CASE known.state WHEN 'active' THEN 'another_mint' ELSE 'unchanged' END;
    WHEN known.mint_id IS DISTINCT FROM l.mint_id AND known.cleanup IS DISTINCT FROM 'pending' AND l.handle IS NOT NULL AND NOT nothing_left THEN
      UPDATE revocation.leases SET
        cleanup = 'pending', access_ended_at = NULL, handle = l.handle, due_at = clock_timestamp(), attempts = 0, claims = claims + 1,
        claimed_until = NULL, last_error = NULL
      WHERE lease_id = l.lease_id;
      outcome := 'unchanged';
    ELSE
      outcome := 'unchanged';
  END CASE;
END
$$;
