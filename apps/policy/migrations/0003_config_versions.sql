-- Configuration: every document that was ever applied. The newest is the running one.
CREATE TABLE policy.config_versions (
  version integer PRIMARY KEY CHECK (version >= 1),
  document text NOT NULL,
  sha256 text NOT NULL,
  applied_at timestamptz NOT NULL,
  applied_by text NOT NULL
);

COMMENT ON TABLE policy.config_versions IS 'Applied configuration documents; the one with the highest version is running';
COMMENT ON COLUMN policy.config_versions.version IS 'Grows by one with each document that differs from the one before';
COMMENT ON COLUMN policy.config_versions.document IS 'mayfly.yaml as it was sent; secrets are in it by reference only';
COMMENT ON COLUMN policy.config_versions.sha256 IS 'SHA-256 of the UTF-8 document, hex';
COMMENT ON COLUMN policy.config_versions.applied_at IS 'By the clock of Postgres';
COMMENT ON COLUMN policy.config_versions.applied_by IS 'SPIFFE ID of the platform administrator, or bootstrap for the file of the first start';
