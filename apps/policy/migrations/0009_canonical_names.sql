-- One form for every name. The contracts bring each into it where it comes in; this is what notices if something ever does not.
-- A block by a name in another form would stop nothing, and nobody would know.

CREATE FUNCTION policy.is_organization(id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN id ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?(\.[1-9][0-9]{0,8})?$';

-- How long each part may be is for the contract to say: counting makes the pattern a hundred times as slow.
CREATE FUNCTION policy.is_agent_id(id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN char_length(id) <= 2048 AND id !~ '/[.][.]?(/|$)'
  AND id ~ '^spiffe://[a-z0-9]([a-z0-9._-]*[a-z0-9])?/(agent/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+/[A-Za-z0-9._-]+|person/[A-Za-z0-9._-]+)$';

-- NFC, no ASCII capital, nothing that can't be seen, no space at either end. Which other letters are capital is for the contract to
-- say: what Postgres knows of them depends on the locale of the database.
CREATE FUNCTION policy.is_user(id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN char_length(id) BETWEEN 1 AND 256 AND id IS NFC NORMALIZED AND id !~ '[A-Z]' AND id !~ '^ | $'
  AND id !~ '[\u0001-\u001f\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u1680\u17b4-\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]';

CREATE FUNCTION policy.is_subject(kind text, id text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE kind
  WHEN 'agent' THEN policy.is_agent_id(id)
  WHEN 'user' THEN policy.is_user(id)
  WHEN 'session' THEN id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
  WHEN 'credential' THEN id ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?$'
  WHEN 'integration' THEN id ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$'
  ELSE false END;

COMMENT ON FUNCTION policy.is_subject IS 'Whether an id has the one form of its kind, as the contracts make it';

-- What was stored before there was one form for each name, brought into it; what can't be seen is left out.
CREATE FUNCTION policy.canonical_user(id text) RETURNS text LANGUAGE plpgsql STABLE AS $$
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

-- Of what is one and the same in its form, the block that lasts the longest is kept. What has no form can be no name of anything,
-- so it has never stopped anybody.
CREATE TABLE policy.canonical_blocks AS
SELECT b.block_id, b.organization, b.subject_kind, b.until,
  CASE b.subject_kind
    WHEN 'session' THEN lower(b.subject_id)
    WHEN 'agent' THEN rtrim(b.subject_id, '/')
    WHEN 'user' THEN policy.canonical_user(b.subject_id)
    ELSE b.subject_id END AS subject_id
FROM policy.blocks b;

DELETE FROM policy.blocks b USING policy.canonical_blocks c
WHERE c.block_id = b.block_id AND (
  policy.is_subject(c.subject_kind, c.subject_id) IS NOT TRUE
  OR EXISTS (
    SELECT FROM policy.canonical_blocks other
    WHERE (other.organization, other.subject_kind, other.subject_id) = (c.organization, c.subject_kind, c.subject_id)
      AND (coalesce(other.until, 'infinity'), other.block_id) > (coalesce(c.until, 'infinity'), c.block_id)));
UPDATE policy.blocks b SET subject_id = c.subject_id FROM policy.canonical_blocks c
WHERE c.block_id = b.block_id AND c.subject_id <> b.subject_id;
ALTER TABLE policy.blocks ADD CONSTRAINT subject_is_canonical CHECK (policy.is_subject(subject_kind, subject_id));

UPDATE policy.sessions SET user_name = policy.canonical_user(user_name) WHERE NOT policy.is_user(user_name);
ALTER TABLE policy.sessions
  ADD CONSTRAINT organization_is_canonical CHECK (policy.is_organization(organization)),
  ADD CONSTRAINT agent_is_canonical CHECK (policy.is_agent_id(agent_id)),
  ADD CONSTRAINT user_is_canonical CHECK (policy.is_user(user_name));

DROP TABLE policy.canonical_blocks;
DROP FUNCTION policy.canonical_user;
