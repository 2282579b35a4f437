-- Which organization a name has meant, from which version of the configuration to which. The name of one that is gone may be given
-- to another: that one gets an id of its own, so that sessions, leases, fences and the log of the first are not its own (I5).
CREATE TABLE policy.organizations (
  id text PRIMARY KEY CHECK (policy.is_organization(id)),
  name text NOT NULL,
  generation integer NOT NULL CHECK (generation >= 1),
  trust_domain text NOT NULL,
  from_version integer NOT NULL,
  until_version integer,
  UNIQUE (name, generation),
  CHECK (until_version > from_version)
);
CREATE UNIQUE INDEX organizations_current ON policy.organizations (name) WHERE until_version IS NULL;

COMMENT ON TABLE policy.organizations IS 'Every organization that a document ever had, known or gone';
COMMENT ON COLUMN policy.organizations.id IS 'What it is known by everywhere but in the document: the name, or <name>.<generation> from the second of that name on';
COMMENT ON COLUMN policy.organizations.name IS 'What documents call it';
COMMENT ON COLUMN policy.organizations.generation IS 'The how many-th of that name it is';
COMMENT ON COLUMN policy.organizations.trust_domain IS 'Whose agents and people it has; another trust domain is another organization';
COMMENT ON COLUMN policy.organizations.from_version IS 'The version of the configuration with which it came';
COMMENT ON COLUMN policy.organizations.until_version IS 'The version that no longer has it; null while it is there';

ALTER TABLE policy.config_versions
  ADD COLUMN organizations_noted boolean NOT NULL DEFAULT false,
  ADD COLUMN sessions_kept boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN policy.config_versions.organizations_noted IS 'Whether policy.organizations knows of it; false for what an earlier release has applied, which is made up for';
COMMENT ON COLUMN policy.config_versions.sessions_kept IS 'Applied without ending the sessions that it no longer admits, by whoever had to get in again';

ALTER TABLE policy.sessions
  ADD COLUMN config_version integer,
  ADD COLUMN identity_sha256 bytea,
  DROP CONSTRAINT sessions_end_reason_check,
  ADD CONSTRAINT sessions_end_reason_check CHECK (end_reason IN ('closed', 'expired', 'unheard', 'withdrawn', 'dismissed', 'blocked'));
COMMENT ON COLUMN policy.sessions.config_version IS 'The version of the configuration that admitted it; null for those of earlier releases';
COMMENT ON COLUMN policy.sessions.identity_sha256 IS 'SHA-256 of the signed part of the identity token that opened it: one opens a limited number of sessions';
COMMENT ON COLUMN policy.sessions.end_reason IS 'closed: by its holder (RFC 7009); expired: by time; unheard: its heartbeat was lost; withdrawn: the configuration no longer admits it; dismissed: by an administrator; blocked: a person who was blocked';

CREATE INDEX sessions_of_identity ON policy.sessions (identity_sha256) WHERE identity_sha256 IS NOT NULL;
-- Lists, newest first.
CREATE INDEX sessions_of_organization ON policy.sessions (organization, id) WHERE ended_at IS NULL;

ALTER TABLE policy.blocks ADD COLUMN binds_platform boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN policy.blocks.binds_platform IS 'Made by a platform administrator: it keeps such a person out too. Any other leaves a person the role that is no organization''s';
