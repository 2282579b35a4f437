-- A grant that nobody will redeem: from here on it can't be, and whoever counted it may stop.

-- outcome: cancelled (with a fence for the lease that would have been) | begun (the register knows the lease: what becomes
-- of it is told by its events)
CREATE FUNCTION revocation.cancel_grant(org text, id uuid, OUT outcome text) LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(revocation.subject_lock(org, 'lease', id::text));
  IF EXISTS (SELECT FROM revocation.leases l WHERE l.lease_id = id) THEN
    outcome := 'begun';
  ELSE
    PERFORM revocation.set_fence(org, 'lease', id::text, NULL, 'infinity', 'grant cancelled');
    outcome := 'cancelled';
  END IF;
END
$$;
