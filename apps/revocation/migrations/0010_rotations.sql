-- Renewal by rotation: a successor lease becomes active, and in the same commit its predecessor is given its last moment.

ALTER TABLE revocation.leases ADD COLUMN predecessor_id uuid, ADD COLUMN successor_id uuid;

COMMENT ON COLUMN revocation.leases.renewals IS 'How often it, with its predecessors, has been renewed';
COMMENT ON COLUMN revocation.leases.predecessor_id IS 'The lease that it took the place of';
COMMENT ON COLUMN revocation.leases.successor_id IS 'The lease that took its place; it ends after the grace';

-- Activates a successor, or nothing at all: the predecessor must be alive, of the same session and not rotated yet. An end that
-- came first wins. Raises MF001 to undo the activation when the predecessor is none.
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
  RETURNING l.expires_at INTO old_expires_at;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is nothing to take the place of' USING ERRCODE = 'MF001';
  END IF;
  UPDATE revocation.leases l SET predecessor_id = predecessor, renewals = renewal_count WHERE l.lease_id = successor.lease_id;
  PERFORM revocation.append_event(jsonb_set(renewed, '{data}', (renewed -> 'data') || jsonb_build_object(
    'expires_at', revocation.instant(old_expires_at))));
END
$$;
