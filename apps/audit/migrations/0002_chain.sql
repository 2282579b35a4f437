-- Where the chain ends, and what was signed about it.

CREATE TABLE audit.chain_head (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  seq bigint NOT NULL,
  hash bytea NOT NULL
);
INSERT INTO audit.chain_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

COMMENT ON TABLE audit.chain_head IS 'The end of the chain. Its row is locked by whoever writes: one writer at a time, with any number of replicas.';
COMMENT ON COLUMN audit.chain_head.singleton IS 'There is one row';
COMMENT ON COLUMN audit.chain_head.seq IS 'seq of the last row';
COMMENT ON COLUMN audit.chain_head.hash IS 'hash of the last row; 32 zero bytes before the first';

CREATE TABLE audit.checkpoint (
  seq bigint PRIMARY KEY,
  hash bytea NOT NULL,
  at timestamptz NOT NULL,
  token text NOT NULL
);

COMMENT ON TABLE audit.checkpoint IS 'Signed statements of where the chain ended; the same are in a file outside Postgres';
COMMENT ON COLUMN audit.checkpoint.seq IS 'seq of the last row then';
COMMENT ON COLUMN audit.checkpoint.hash IS 'hash of the last row then';
COMMENT ON COLUMN audit.checkpoint.at IS 'When it was signed';
COMMENT ON COLUMN audit.checkpoint.token IS 'JWS (typ mayfly-checkpoint+jwt) over seq, hash and at';

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit.checkpoint FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER no_truncate BEFORE TRUNCATE ON audit.checkpoint FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
