-- A subject has one block, which its organization's administrators and platform administrators may both have asked for. How long it
-- keeps out a platform administrator is for the latter alone to say, so it has a time of its own.

ALTER TABLE policy.blocks ADD COLUMN platform_until timestamptz;

COMMENT ON COLUMN policy.blocks.binds_platform IS 'A platform administrator asked for it: until platform_until it keeps such a person out too, and its organization can''t remove it';
COMMENT ON COLUMN policy.blocks.platform_until IS 'Until when it binds as one of the platform; infinity: until one of the platform removes it; null, of an earlier release: as long as the block';
