-- Where a version of the configuration came from, and by what proof its administrators were admitted.
ALTER TABLE policy.config_versions ADD COLUMN applied_from text;
COMMENT ON COLUMN policy.config_versions.applied_by IS 'SPIFFE ID of the platform administrator; bootstrap for the file of the first start, recovery for who had the machine';
COMMENT ON COLUMN policy.config_versions.applied_from IS 'Source address, file of the first start, or host and operating system user of a recovery; null for versions of before it was kept';

ALTER TABLE policy.sessions ADD COLUMN proof jsonb;
COMMENT ON COLUMN policy.sessions.proof IS 'Of platform administrators alone: verified claims, algorithm, key id and key set of the identity that opened the session, so that a document can be tried on it before it locks its administrator out. Never the token';
