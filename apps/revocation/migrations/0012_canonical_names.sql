-- One form for every name. The contracts bring each into it where it comes in; this is what notices if something ever does not. A
-- fence is found by its name as text: in another form it would stop nothing, and nobody would know.

CREATE FUNCTION revocation.is_organization(id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN id ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[1-9][0-9]{0,8})?$';

-- How long each part may be is for the contract to say: counting makes the pattern a hundred times as slow.
CREATE FUNCTION revocation.is_agent_id(id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN char_length(id) <= 2048 AND id !~ '/[.][.]?(/|$)'
  AND id ~ '^spiffe://[a-z0-9]([a-z0-9._-]*[a-z0-9])?/(agent/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+|person/[A-Za-z0-9._-]+)$';

-- NFC, no ASCII capital, nothing that can't be seen, no space at either end. Which other letters are capital is for the contract to
-- say: what Postgres knows of them depends on the locale of the database.
CREATE FUNCTION revocation.is_user(id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN char_length(id) BETWEEN 1 AND 256 AND id IS NFC NORMALIZED AND id !~ '[A-Z]' AND id !~ '^ | $'
  AND id !~ '[\u0001-\u001f\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u1680\u17b4-\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]';

CREATE FUNCTION revocation.is_subject(kind text, id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind
  WHEN 'lease' THEN id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  WHEN 'session' THEN id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  WHEN 'agent' THEN revocation.is_agent_id(id)
  WHEN 'user' THEN revocation.is_user(id)
  WHEN 'credential' THEN id ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$'
  WHEN 'integration' THEN id ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$'
  WHEN 'organization' THEN revocation.is_organization(id)
  WHEN 'everything' THEN id = '*'
  ELSE false END;

COMMENT ON FUNCTION revocation.is_subject IS 'Whether an id has the one form of its kind, as the contracts make it';

-- What was stored before there was one form for each name, brought into it; what can't be seen is left out.
CREATE FUNCTION revocation.canonical_user(id text) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
  lowered text;
BEGIN
  id := regexp_replace(normalize(id, NFC), '[\u0001-\u001f\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u1680\u17b4-\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]', '', 'g');
  -- Of capital letters beyond ASCII ICU knows more than a database with the locale C does.
  IF EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') THEN
    EXECUTE 'SELECT lower($1 COLLATE "und-x-icu")' INTO lowered USING id;
  ELSE
    lowered := lower(id);
  END IF;
  RETURN nullif(btrim(normalize(lowered, NFC)), '');
END
$$;

-- Whatever a fence was set for, it stops in its form too. Fences live for two hours.
CREATE TABLE revocation.old_fences AS
SELECT f.organization, f.subject_kind,
  CASE f.subject_kind
    WHEN 'lease' THEN lower(f.subject_id)
    WHEN 'session' THEN lower(f.subject_id)
    WHEN 'agent' THEN rtrim(f.subject_id, '/')
    WHEN 'user' THEN revocation.canonical_user(f.subject_id)
    ELSE f.subject_id END AS subject_id,
  f.agent_id, max(f.instant) AS instant, max(f.reason) AS reason, max(f.recorded_at) AS recorded_at
FROM revocation.fences f WHERE NOT revocation.is_subject(f.subject_kind, f.subject_id) GROUP BY 1, 2, 3, 4;
DELETE FROM revocation.fences f WHERE NOT revocation.is_subject(f.subject_kind, f.subject_id);
INSERT INTO revocation.fences AS f (organization, subject_kind, subject_id, agent_id, instant, reason, recorded_at)
SELECT o.organization, o.subject_kind, o.subject_id, o.agent_id, o.instant, o.reason, o.recorded_at FROM revocation.old_fences o
WHERE revocation.is_subject(o.subject_kind, o.subject_id)
ON CONFLICT (organization, subject_kind, subject_id, agent_id) DO UPDATE SET
  instant = greatest(f.instant, excluded.instant), recorded_at = greatest(f.recorded_at, excluded.recorded_at);
DROP TABLE revocation.old_fences;
ALTER TABLE revocation.fences
  ADD CONSTRAINT organization_is_canonical CHECK (organization = '*' OR revocation.is_organization(organization)),
  ADD CONSTRAINT subject_is_canonical CHECK (revocation.is_subject(subject_kind, subject_id));

-- Only users can have come in another form: all else was made by policy.
UPDATE revocation.leases SET "user" = revocation.canonical_user("user") WHERE NOT revocation.is_user("user");
ALTER TABLE revocation.leases
  ADD CONSTRAINT organization_is_canonical CHECK (revocation.is_organization(organization)),
  ADD CONSTRAINT agent_is_canonical CHECK (revocation.is_agent_id(agent_id)),
  ADD CONSTRAINT user_is_canonical CHECK (revocation.is_user("user"));

-- What is under way goes on with the name in its form; what has none can match nothing and is done. Done ones stay as they were
-- asked for: they are history, and are never changed again.
UPDATE revocation.revocations SET subject_id = CASE subject_kind
    WHEN 'lease' THEN lower(subject_id)
    WHEN 'session' THEN lower(subject_id)
    WHEN 'agent' THEN rtrim(subject_id, '/')
    WHEN 'user' THEN coalesce(revocation.canonical_user(subject_id), subject_id)
    ELSE subject_id END
  WHERE done_at IS NULL AND NOT revocation.is_subject(subject_kind, subject_id);
UPDATE revocation.revocations SET
    gathered_at = coalesce(gathered_at, clock_timestamp()), done_at = clock_timestamp(), due_at = NULL
  WHERE done_at IS NULL AND NOT revocation.is_subject(subject_kind, subject_id);
ALTER TABLE revocation.revocations
  ADD CONSTRAINT subject_is_canonical CHECK (revocation.is_subject(subject_kind, subject_id)) NOT VALID;

DROP FUNCTION revocation.canonical_user;
