-- When the upstreams were last compared with the register.
CREATE TABLE revocation.sweep (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  next_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO revocation.sweep DEFAULT VALUES;

COMMENT ON TABLE revocation.sweep IS 'One row: the comparison of all upstreams with the register, which one replica makes at a time';
COMMENT ON COLUMN revocation.sweep.only_one IS 'Keeps it at one row';
COMMENT ON COLUMN revocation.sweep.next_at IS 'When the next comparison is due; whoever moves it makes it';
