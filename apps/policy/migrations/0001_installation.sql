-- Which installation of Mayfly this is. Lease ids carry a mark of it, so that what is found upstream is known to be its own.
CREATE TABLE policy.installation (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO policy.installation DEFAULT VALUES;

COMMENT ON TABLE policy.installation IS 'One row, made with the schema';
COMMENT ON COLUMN policy.installation.only_one IS 'Keeps it at one row';
COMMENT ON COLUMN policy.installation.id IS 'Random; goes into the mark of lease ids. With another one, what was made upstream before is no longer known as one''s own';
