-- A revocation that policy has ordered by an event comes twice: by the gateway at once, and by the event. Whichever is first
-- carries it out; the other finds its id and changes nothing.

-- As before, and answers null for one that is there already. Both name the same subject, so the lock lets one in at a time.
CREATE OR REPLACE FUNCTION revocation.accept_revocation(asked jsonb, for_ever boolean, event jsonb) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
  r revocation.revocations := jsonb_populate_record(NULL::revocation.revocations, asked);
BEGIN
  PERFORM pg_advisory_xact_lock(revocation.subject_lock(r.organization, r.subject_kind, r.subject_id));
  IF EXISTS (SELECT FROM revocation.revocations known WHERE known.revocation_id = r.revocation_id) THEN
    RETURN NULL;
  END IF;
  -- After the lock: every activation that the fence does not stop has committed before, or was granted after.
  r.asked_at := clock_timestamp();
  r.instant := CASE WHEN for_ever THEN 'infinity' ELSE r.asked_at END;
  PERFORM revocation.set_fence(r.organization, r.subject_kind, r.subject_id, NULL, r.instant, r.reason);
  INSERT INTO revocation.revocations
    (revocation_id, organization, subject_kind, subject_id, reason, asked_by, asked_organization, asked_session_id,
     asked_traceparent, asked_at, instant, due_at)
  VALUES
    (r.revocation_id, r.organization, r.subject_kind, r.subject_id, r.reason, r.asked_by, r.asked_organization,
     r.asked_session_id, r.asked_traceparent, r.asked_at, r.instant, r.asked_at);
  PERFORM revocation.append_event(event);
  RETURN r.asked_at;
END
$$;

COMMENT ON FUNCTION revocation.accept_revocation IS 'Commits a revocation: its fence, its row and its event; null, and nothing, when its id is there already';
COMMENT ON COLUMN revocation.revocations.revocation_id IS 'UUIDv7; made by policy for those that it orders by an event';
