-- Renewal in place: the same lease, the same secret, a later end. In two steps around the call of the provider, like a mint:
-- first the register notes how late the upstream may come to end it by itself, then the provider is called, then the
-- later end is committed. A crash in between leaves a lease that ends at its old time.
--
-- A renewal may be asked for by another session of the same agent than the one that holds the lease. A fence of the asking
-- session, or of the user it acts for, stops the renewal like a fence of the lease's own.

-- All that a fence could name to stop a renewal: the lease's subjects, and those of who asks.
-- asker: session_id, and parent_session_id and "user" where there are any.
CREATE FUNCTION revocation.renewal_subjects(l revocation.leases, asker jsonb)
RETURNS TABLE (organization text, kind text, id text) LANGUAGE sql STABLE AS $$
  SELECT s.* FROM revocation.subjects_of(l) AS s
  UNION
  SELECT s.* FROM revocation.subjects_of(jsonb_populate_record(l, asker)) AS s
$$;

COMMENT ON FUNCTION revocation.renewal_subjects IS 'Subjects whose fences stop a renewal of a lease by an asker';

-- Whether a fence came after a decision about this lease. What was decided after the fence is policy's to refuse (a block), and
-- if the fence is a revocation's, the lease is about to end anyway.
-- tolerance: how far policy's reading of Postgres' clock may be ahead, as for an activation.
CREATE FUNCTION revocation.is_fenced(l revocation.leases, asker jsonb, decided timestamptz, tolerance interval)
RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM revocation.renewal_subjects(l, asker) AS subject
    JOIN revocation.fences f ON f.organization = subject.organization AND f.subject_kind = subject.kind AND f.subject_id = subject.id
    WHERE f.agent_id IN ('', l.agent_id) AND f.instant >= decided - tolerance)
$$;

COMMENT ON FUNCTION revocation.is_fenced IS 'Whether a fence of the lease or of the asker came after a decision';

-- Begins a renewal and keeps others away from the lease while the provider is called.
-- not_after: the latest end that policy allows. max_life: counted from the decision that granted the lease, as policy counts it.
-- native_margin: how far the upstream's clock may be off before its own expiry would be earlier than the lease's; the upstream is
-- never told an instant later than the new end plus this.
-- outcome: begun (with the row as it was) | not_found | ended | not_renewable | too_often | used | busy | not_later
CREATE FUNCTION revocation.begin_renewal(
  org text,
  id uuid,
  session uuid,
  asker jsonb,
  renewal uuid,
  granted timestamptz,
  tolerance interval,
  not_after timestamptz,
  max_life interval,
  max_count integer,
  claim interval,
  native_margin interval,
  OUT outcome text,
  OUT lease revocation.leases,
  OUT renewed_until timestamptz,
  OUT native_not_after timestamptz,
  OUT ttl_seconds integer
) LANGUAGE plpgsql AS $$
DECLARE
  at timestamptz;
BEGIN
  SELECT l.* INTO lease FROM revocation.leases l
    WHERE l.lease_id = id AND l.organization = org AND l.session_id = session AND l.granted_at IS NOT NULL
    FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    outcome := 'not_found';
    RETURN;
  END IF;
  -- Not now(): it may have waited for the row.
  at := clock_timestamp();
  -- Past its expiry it is over, also when nobody has claimed its end yet.
  IF lease.state <> 'active' OR lease.expires_at <= at OR revocation.is_fenced(lease, asker, granted, tolerance) THEN
    outcome := 'ended';
  -- What has a successor is in its grace, and never lives longer.
  ELSIF NOT lease.renewable OR lease.successor_id IS NOT NULL THEN
    outcome := 'not_renewable';
  ELSIF lease.renewal_granted_at >= granted THEN
    outcome := 'used';
  ELSIF lease.renewing_until > at THEN
    outcome := 'busy';
  ELSIF lease.renewals >= max_count THEN
    outcome := 'too_often';
  ELSE
    renewed_until := least(not_after, lease.granted_at + max_life);
    -- A second at least: less is what clocks and roundings make.
    IF renewed_until < lease.expires_at + interval '1 second' THEN
      outcome := 'not_later';
      RETURN;
    END IF;
    native_not_after := renewed_until + native_margin;
    ttl_seconds := ceil(extract(epoch FROM renewed_until - at));
    UPDATE revocation.leases l SET
      renewal_id = renewal,
      renewal_granted_at = granted,
      renewing_until = at + claim,
      native_expires_at = CASE WHEN l.native_expires_at IS NOT NULL THEN greatest(l.native_expires_at, begin_renewal.native_not_after) END
    WHERE l.lease_id = id;
    outcome := 'begun';
  END IF;
END
$$;

COMMENT ON FUNCTION revocation.begin_renewal IS 'Begins a renewal and keeps others away from the lease while the provider is called';

-- The commit point of a renewal, and what it must not race with: an end or a fence that came first wins. Takes the locks
-- that an activation takes, and those of who asks, so that a fence and a renewal never overlap.
-- event: credential.renewed without what only this function knows.
-- outcome: renewed | ended | lost (another renewal has taken its place)
CREATE FUNCTION revocation.commit_renewal(
  id uuid,
  asker jsonb,
  renewal uuid,
  tolerance interval,
  renewed_until timestamptz,
  native timestamptz,
  event jsonb,
  OUT outcome text,
  OUT lease_expires_at timestamptz,
  OUT lease_renewals integer
) LANGUAGE plpgsql AS $$
DECLARE
  l revocation.leases;
BEGIN
  -- None of the subjects ever changes.
  SELECT known.* INTO STRICT l FROM revocation.leases known WHERE known.lease_id = id;
  PERFORM pg_advisory_xact_lock_shared(revocation.subject_lock(subject.organization, subject.kind, subject.id))
    FROM revocation.renewal_subjects(l, asker) AS subject;
  SELECT known.* INTO STRICT l FROM revocation.leases known WHERE known.lease_id = id FOR NO KEY UPDATE;
  IF l.state <> 'active' OR l.expires_at <= clock_timestamp() THEN
    outcome := 'ended';
    RETURN;
  ELSIF l.renewal_id IS DISTINCT FROM renewal OR l.renewing_until IS NULL THEN
    outcome := 'lost';
    RETURN;
  ELSIF revocation.is_fenced(l, asker, l.renewal_granted_at, tolerance) THEN
    outcome := 'ended';
    RETURN;
  END IF;
  -- Never earlier than it was, whatever the upstream's clock says.
  lease_expires_at := greatest(l.expires_at, least(renewed_until, native));
  lease_renewals := l.renewals + 1;
  UPDATE revocation.leases known SET
    expires_at = lease_expires_at,
    native_expires_at = coalesce(native, l.native_expires_at),
    due_at = CASE WHEN l.revocability ->> 'kind' = 'expiry_only' THEN coalesce(native, l.native_expires_at, lease_expires_at) ELSE lease_expires_at END,
    renewals = lease_renewals,
    last_renewed_at = clock_timestamp(),
    renewing_until = NULL
  WHERE known.lease_id = id;
  PERFORM revocation.append_event(jsonb_set(event, '{data}', (event -> 'data') || jsonb_build_object(
    'expires_at', revocation.instant(lease_expires_at), 'renewals', lease_renewals)));
  outcome := 'renewed';
END
$$;

COMMENT ON FUNCTION revocation.commit_renewal IS 'The commit point of a renewal: an end or a fence that came first wins';
