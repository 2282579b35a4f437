-- Revocations. The fence and the row here commit first, in one small transaction: from then on nothing is forgotten. Its
-- leases are gathered afterwards, some at a time, each time in a transaction of its own, by whichever replica is free.

CREATE TABLE revocation.revocations (
  revocation_id       uuid PRIMARY KEY,
  organization        text NOT NULL,
  subject_kind        text NOT NULL,
  subject_id          text NOT NULL,
  reason              text NOT NULL,
  asked_by            text NOT NULL,
  asked_organization  text NOT NULL,
  asked_session_id    uuid NOT NULL,
  asked_traceparent   text,
  asked_at            timestamptz NOT NULL,
  instant             timestamptz NOT NULL,
  cursor_organization text NOT NULL DEFAULT '',
  cursor_credential   text COLLATE "C" NOT NULL DEFAULT '',
  cursor_lease_id     uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  immediate           integer NOT NULL DEFAULT 0,
  eventual            integer NOT NULL DEFAULT 0,
  expiry_only         integer NOT NULL DEFAULT 0,
  gathered_at         timestamptz,
  open_from           uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  done_at             timestamptz,
  due_at              timestamptz,

  CONSTRAINT everything_has_no_organization CHECK ((subject_kind = 'everything') = (organization = '*')),
  -- What is not done is always due at some time.
  CONSTRAINT never_forgotten CHECK ((done_at IS NULL) = (due_at IS NOT NULL)),
  CONSTRAINT done_is_gathered CHECK (done_at IS NULL OR gathered_at IS NOT NULL)
);

COMMENT ON TABLE revocation.revocations IS 'Orders of administrators to end all leases of a subject; a row is there before the order is answered';
COMMENT ON COLUMN revocation.revocations.revocation_id IS 'UUIDv7; made by policy for those that it orders by an event';
COMMENT ON COLUMN revocation.revocations.organization IS 'Whose leases end; * for those of every organization';
COMMENT ON COLUMN revocation.revocations.subject_kind IS 'lease, session, agent, user, credential, integration, organization or everything';
COMMENT ON COLUMN revocation.revocations.subject_id IS 'As in fences';
COMMENT ON COLUMN revocation.revocations.reason IS 'Why, in the words of whoever asked';
COMMENT ON COLUMN revocation.revocations.asked_by IS 'SPIFFE ID of the administrator';
COMMENT ON COLUMN revocation.revocations.asked_organization IS 'The organization of the administrator';
COMMENT ON COLUMN revocation.revocations.asked_session_id IS 'The session of the administrator';
COMMENT ON COLUMN revocation.revocations.asked_traceparent IS 'The request; the ends of its leases are linked to it';
COMMENT ON COLUMN revocation.revocations.asked_at IS 'By Postgres'' clock, when the fence was set';
COMMENT ON COLUMN revocation.revocations.instant IS 'The instant of the fence: what became active after it is not of this revocation';
COMMENT ON COLUMN revocation.revocations.cursor_organization IS 'With the two below: the last lease gathered, where the next transaction goes on';
COMMENT ON COLUMN revocation.revocations.cursor_credential IS 'See cursor_organization';
COMMENT ON COLUMN revocation.revocations.cursor_lease_id IS 'See cursor_organization';
COMMENT ON COLUMN revocation.revocations.immediate IS 'Leases gathered that can be ended at once';
COMMENT ON COLUMN revocation.revocations.eventual IS 'Leases gathered whose end takes effect within a bound';
COMMENT ON COLUMN revocation.revocations.expiry_only IS 'Leases gathered that can not be called back';
COMMENT ON COLUMN revocation.revocations.gathered_at IS 'When the last of its leases had been found; null while there may be more';
COMMENT ON COLUMN revocation.revocations.open_from IS 'Once gathered: all of its leases below this one have ended, which they stay';
COMMENT ON COLUMN revocation.revocations.done_at IS 'When all of its leases had ended';
COMMENT ON COLUMN revocation.revocations.due_at IS 'When to gather more, or to look whether all have ended; null when done';

CREATE INDEX revocations_due ON revocation.revocations (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX revocations_of_organization ON revocation.revocations (organization, revocation_id);
CREATE INDEX revocations_done ON revocation.revocations (done_at) WHERE done_at IS NOT NULL;

CREATE TABLE revocation.revocation_leases (
  revocation_id uuid NOT NULL,
  lease_id      uuid NOT NULL,
  PRIMARY KEY (revocation_id, lease_id)
);

COMMENT ON TABLE revocation.revocation_leases IS 'Which leases a revocation found alive. A lease may be of several: the one that started its end is in the lease itself';
COMMENT ON COLUMN revocation.revocation_leases.revocation_id IS 'The revocation; its row goes together with these';
COMMENT ON COLUMN revocation.revocation_leases.lease_id IS 'The lease; once ended, its row may be gone before this one';

-- The commit of a revocation: fence and row, nothing else. `asked` has the columns that the asker knows; for_ever: the
-- subject never comes back. Answers when, by Postgres' clock.
--
-- A revocation that policy has ordered by an event comes twice: by the gateway at once, and by the event. Whichever is first
-- carries it out; the other finds its id, changes nothing and is answered null. Both name the same subject, so the lock lets one in
-- at a time.
CREATE FUNCTION revocation.accept_revocation(asked jsonb, for_ever boolean, event jsonb) RETURNS timestamptz
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

-- Moves the next of a subject's live leases, at most `most`, to their end, and says where it stopped. What was activated after
-- `until` is left alone: its grant is younger than the fence. `finished`: there are no more.
CREATE FUNCTION revocation.move_leases(
  org text,
  kind text,
  id text,
  until timestamptz,
  why text,
  cause text,
  revocation uuid,
  most integer,
  INOUT cursor_organization text,
  INOUT cursor_credential text,
  INOUT cursor_lease_id uuid,
  OUT finished boolean,
  OUT immediate integer,
  OUT eventual integer,
  OUT expiry_only integer
) LANGUAGE plpgsql AS $$
DECLARE
  condition text := CASE kind
    WHEN 'lease' THEN 'l.organization = $1 AND l.lease_id = $2::uuid'
    WHEN 'session' THEN 'l.organization = $1 AND (l.session_id = $2::uuid OR l.parent_session_id = $2::uuid)'
    WHEN 'agent' THEN 'l.organization = $1 AND l.agent_id = $2'
    WHEN 'user' THEN 'l.organization = $1 AND l."user" = $2'
    WHEN 'credential' THEN 'l.organization = $1 AND l.credential = $2'
    -- Every credential of an integration lies between these two: "0" follows "/".
    WHEN 'integration' THEN 'l.organization = $1 AND l.integration = $2 AND l.credential >= $2 || ''/'' AND l.credential < $2 || ''0'''
    WHEN 'organization' THEN 'l.organization = $1'
    WHEN 'everything' THEN 'true'
  END;
  -- In the order of the index that serves the kind.
  place text := CASE WHEN kind IN ('credential', 'integration', 'organization', 'everything')
    THEN '(l.organization, l.credential, l.lease_id) > ($8, $9, $10) ORDER BY l.organization, l.credential, l.lease_id'
    ELSE 'l.lease_id > $10 ORDER BY l.lease_id' END;
  chosen integer;
BEGIN
  -- Planned for this kind and these values each time.
  EXECUTE format($query$
    WITH chosen AS MATERIALIZED (
      SELECT l.lease_id, l.organization, l.credential, row_number() OVER () AS place FROM (
        SELECT l.lease_id, l.organization, l.credential FROM revocation.leases l
        WHERE l.granted_at IS NOT NULL AND l.ended_at IS NULL AND l.issued_at <= $3 AND %s AND %s LIMIT $7) l),
    -- Locked in one order everywhere, so that two who end many leases never deadlock.
    held AS MATERIALIZED (
      SELECT l.lease_id FROM revocation.leases l
      WHERE l.lease_id = ANY (ARRAY(SELECT c.lease_id FROM chosen c)) AND l.ended_at IS NULL
      ORDER BY l.lease_id FOR NO KEY UPDATE),
    moved AS (
      UPDATE revocation.leases l SET
        state = CASE l.state WHEN 'active' THEN 'revoking' ELSE l.state END,
        revocation_id = CASE WHEN l.end_cause IS NULL THEN $6 ELSE l.revocation_id END,
        end_cause = coalesce(l.end_cause, 'revoked'),
        end_reason = coalesce(l.end_reason, $4),
        end_traceparent = coalesce(l.end_traceparent, $5),
        due_at = least(l.due_at, clock_timestamp())
      FROM held WHERE l.lease_id = held.lease_id
      RETURNING l.lease_id, l.revocability ->> 'kind' AS revocability),
    noted AS (
      INSERT INTO revocation.revocation_leases (revocation_id, lease_id)
      SELECT $6, m.lease_id FROM moved m WHERE $6 IS NOT NULL)
    SELECT
      (SELECT count(*) FROM chosen),
      (SELECT count(*) FILTER (WHERE m.revocability = 'immediate') FROM moved m),
      (SELECT count(*) FILTER (WHERE m.revocability = 'eventual') FROM moved m),
      (SELECT count(*) FILTER (WHERE m.revocability = 'expiry_only') FROM moved m),
      coalesce(last.organization, $8), coalesce(last.credential, $9), coalesce(last.lease_id, $10)
    FROM (SELECT) one LEFT JOIN (SELECT c.* FROM chosen c ORDER BY c.place DESC LIMIT 1) last ON true
  $query$, condition, place)
  INTO chosen, immediate, eventual, expiry_only, cursor_organization, cursor_credential, cursor_lease_id
  USING org, id, until, why, cause, revocation, most, cursor_organization, cursor_credential, cursor_lease_id;
  finished := chosen < most;
END
$$;
