-- The fences that stop mints and renewals under way. All that sets or heeds them runs at READ COMMITTED and as functions, not
-- single statements: each statement of a volatile function sees what was committed while the one before waited for a lock, whereas
-- all parts of one statement see what was there before the wait.

CREATE TABLE revocation.fences (
  organization text NOT NULL,
  subject_kind text NOT NULL CHECK (subject_kind IN ('lease', 'session', 'agent', 'user', 'credential', 'integration', 'organization', 'everything')),
  subject_id   text NOT NULL,
  agent_id     text NOT NULL DEFAULT '',
  instant      timestamptz NOT NULL,
  reason       text NOT NULL,
  recorded_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization, subject_kind, subject_id, agent_id)
);

COMMENT ON TABLE revocation.fences IS 'Nothing granted up to the instant for the subject may become active; kept for 2 hours';
COMMENT ON COLUMN revocation.fences.organization IS 'A fence stops nothing of another organization; * is the fence of everything';
COMMENT ON COLUMN revocation.fences.subject_kind IS 'lease, session (with its child sessions), agent, user, credential, integration, organization or everything';
COMMENT ON COLUMN revocation.fences.subject_id IS 'Lease id, session id, SPIFFE ID, user, credential, integration or organization; * for everything';
COMMENT ON COLUMN revocation.fences.agent_id IS 'When not empty, only leases of this agent are stopped: an agent may fence a lease that is not known here yet, but only its own';
COMMENT ON COLUMN revocation.fences.instant IS 'By Postgres'' clock; infinity for what never comes back: a lease given back, a session that has ended';
COMMENT ON COLUMN revocation.fences.reason IS 'Why, for people';
COMMENT ON COLUMN revocation.fences.recorded_at IS 'Fences are removed 2 hours after this';

CREATE INDEX fences_recorded ON revocation.fences (recorded_at);

-- The lock of a subject. A fence takes it exclusively, an activation takes those of all its subjects shared: so
-- activations never wait for each other, and an activation and a fence of one of its subjects never overlap. Either
-- the activation committed first, and the revocation that set the fence sees the lease; or the fence did, and the
-- activation sees the fence. The commit of a renewal takes them as an activation does. Activations take only shared locks
-- and a fence takes exactly one, so there is no deadlock.
CREATE FUNCTION revocation.subject_lock(organization text, kind text, id text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended(concat_ws(E'\x1f', 'mayfly fence', organization, kind, id), 0);

-- All that a fence could name to stop a lease: what an activation locks and looks for.
CREATE FUNCTION revocation.subjects_of(l revocation.leases) RETURNS TABLE (organization text, kind text, id text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT subject.* FROM (VALUES
    (l.organization, 'lease', l.lease_id::text), (l.organization, 'session', l.session_id::text),
    (l.organization, 'session', l.parent_session_id::text), (l.organization, 'agent', l.agent_id),
    (l.organization, 'user', l."user"), (l.organization, 'credential', l.credential),
    (l.organization, 'integration', l.integration), (l.organization, 'organization', l.organization),
    ('*', 'everything', '*')) AS subject (organization, kind, id)
  WHERE subject.id IS NOT NULL
$$;

-- Sets a fence or moves one later, never earlier. The caller holds the lock of the subject.
CREATE FUNCTION revocation.set_fence(org text, kind text, id text, only_agent text, at timestamptz, why text) RETURNS void
LANGUAGE sql AS $$
  INSERT INTO revocation.fences AS f (organization, subject_kind, subject_id, agent_id, instant, reason)
  VALUES (org, kind, id, coalesce(only_agent, ''), at, why)
  ON CONFLICT (organization, subject_kind, subject_id, agent_id) DO UPDATE SET
    instant = greatest(f.instant, excluded.instant), reason = excluded.reason, recorded_at = excluded.recorded_at
$$;

-- A fence by itself: for a session that has ended, whose end policy remembers and repeats until its leases have moved.
CREATE FUNCTION revocation.fence_subject(org text, kind text, id text, for_ever boolean, why text) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
  at timestamptz;
BEGIN
  PERFORM pg_advisory_xact_lock(revocation.subject_lock(org, kind, id));
  at := CASE WHEN for_ever THEN 'infinity' ELSE clock_timestamp() END;
  PERFORM revocation.set_fence(org, kind, id, NULL, at, why);
  RETURN at;
END
$$;

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
