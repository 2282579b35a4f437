-- Renewal by rotation: a successor lease becomes active, and in the same commit its predecessor is given its last moment.

-- Activates a successor, or nothing at all: the predecessor must be alive, of the same session and not rotated yet. An end that
-- came first wins, and a fence of the predecessor stops its successor: who ended the lease before its successor was active has
-- ended what was to take its place. Nor may the predecessor's own predecessor be alive: of a chain two live at a time at most,
-- however many are renewed in however short a time. Raises MF001 to undo the activation when the predecessor is none.
-- event: credential.issued of the successor; renewed: credential.renewed of the predecessor without its new end.
-- outcome: as of activate
CREATE FUNCTION revocation.activate_successor(
  facts jsonb,
  event jsonb,
  tolerance interval,
  predecessor uuid,
  renewal_count integer,
  grace interval,
  renewed jsonb,
  OUT outcome text,
  OUT lease_issued_at timestamptz,
  OUT lease_expires_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
  successor revocation.leases := jsonb_populate_record(NULL::revocation.leases, facts);
  at timestamptz;
  old_expires_at timestamptz;
BEGIN
  -- Before anything is written, like all shared locks of an activation.
  PERFORM pg_advisory_xact_lock_shared(revocation.subject_lock(successor.organization, 'lease', predecessor::text));
  IF EXISTS (
       SELECT FROM revocation.fences f
       WHERE f.organization = successor.organization AND f.subject_kind = 'lease' AND f.subject_id = predecessor::text
         AND f.agent_id IN ('', successor.agent_id) AND f.instant >= successor.granted_at - tolerance) THEN
    outcome := 'fenced';
    RETURN;
  END IF;
  SELECT a.* INTO outcome, lease_issued_at, lease_expires_at FROM revocation.activate(facts, event, tolerance) AS a;
  IF outcome <> 'active' THEN RETURN; END IF;
  at := clock_timestamp();
  UPDATE revocation.leases l SET
    successor_id = successor.lease_id,
    expires_at = least(l.expires_at, at + grace),
    due_at = least(l.due_at, at + grace),
    renewals = renewal_count,
    last_renewed_at = at
  WHERE l.lease_id = predecessor AND l.organization = successor.organization AND l.session_id = successor.session_id
    AND l.state = 'active' AND l.expires_at > at AND l.successor_id IS NULL
    AND NOT EXISTS (
      SELECT FROM revocation.leases earlier
      WHERE earlier.lease_id = l.predecessor_id AND earlier.state IN ('active', 'revoking', 'revocation_failed'))
  RETURNING l.expires_at INTO old_expires_at;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is nothing to take the place of' USING ERRCODE = 'MF001';
  END IF;
  UPDATE revocation.leases l SET predecessor_id = predecessor, renewals = renewal_count WHERE l.lease_id = successor.lease_id;
  PERFORM revocation.append_event(jsonb_set(renewed, '{data}', (renewed -> 'data') || jsonb_build_object(
    'expires_at', revocation.instant(old_expires_at))));
END
$$;
