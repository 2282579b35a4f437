-- Blocks: who gets no new lease, and what nobody gets.
CREATE TABLE policy.blocks (
  block_id uuid PRIMARY KEY,
  organization text NOT NULL,
  subject_kind text NOT NULL CHECK (subject_kind IN ('agent', 'user', 'session', 'credential', 'integration')),
  subject_id text NOT NULL,
  reason text NOT NULL,
  added_by text NOT NULL,
  added_at timestamptz NOT NULL,
  until timestamptz,
  UNIQUE (organization, subject_kind, subject_id)
);

COMMENT ON TABLE policy.blocks IS 'Subjects for which no lease is granted or renewed. One row per subject: asked for again, it lasts at least as long as before';
COMMENT ON COLUMN policy.blocks.block_id IS 'UUIDv7';
COMMENT ON COLUMN policy.blocks.organization IS 'A block stops nothing of another organization';
COMMENT ON COLUMN policy.blocks.subject_kind IS 'agent, user, session, credential or integration';
COMMENT ON COLUMN policy.blocks.subject_id IS 'SPIFFE ID, user, session id, <integration>/<name> or integration';
COMMENT ON COLUMN policy.blocks.reason IS 'Why, for administrators and auditors; the blocked are not told';
COMMENT ON COLUMN policy.blocks.added_by IS 'SPIFFE ID of the administrator who asked last';
COMMENT ON COLUMN policy.blocks.added_at IS 'When it was first asked for, by the clock of Postgres';
COMMENT ON COLUMN policy.blocks.until IS 'When it ends by itself; null: when it is removed';

CREATE INDEX blocks_lapsing ON policy.blocks (until) WHERE until IS NOT NULL;
CREATE INDEX blocks_of_organization ON policy.blocks (organization, block_id);

-- The block that stops this asker from getting this credential, if any; null for what does not apply. One look at the unique
-- index for each of the five. Child sessions, once there are any, bring the sessions above them along.
CREATE FUNCTION policy.block_for(
  p_organization text,
  p_session_id uuid,
  p_agent_id text,
  p_user text,
  p_credential text,
  p_at timestamptz
) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT b.block_id FROM (VALUES
    ('agent', p_agent_id), ('user', p_user), ('session', p_session_id::text), ('credential', p_credential),
    ('integration', split_part(p_credential, '/', 1))) AS subject (kind, id)
  JOIN policy.blocks b ON b.organization = p_organization AND b.subject_kind = subject.kind AND b.subject_id = subject.id
  WHERE b.until IS NULL OR b.until > p_at
  LIMIT 1
$$;

COMMENT ON FUNCTION policy.block_for IS 'The block that stops an asker from getting a credential, or null';
