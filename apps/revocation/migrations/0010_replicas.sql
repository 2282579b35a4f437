-- The replicas of this service that live. A claim on a lease lasts as long as the row of the replica that made it: once that is
-- gone, all its claims are anyone's at that instant, however many they are, and also those that Postgres commits for it only afterwards.
-- Nothing is written to a lease for it. What keeps a replica that was only slow from doing harm is the number of the claim
-- (leases.claims), which grows when another takes the lease.
--
-- A replica keeps one connection for its whole life and beats over it. The others delete its row when that connection is gone, which
-- they see within moments of a process's death, or when it has not been heard of for too long, because its machine is gone.
--
-- Unlogged: nobody needs it after a crash of Postgres, when all connections are gone, or on a standby that takes over. So a beat waits
-- neither for the disk nor for a standby, and a replica is not taken for dead because one of these is slow.
CREATE UNLOGGED TABLE revocation.replicas (
  replica_id    uuid PRIMARY KEY,
  backend_pid   integer NOT NULL,
  backend_start timestamptz NOT NULL,
  joined_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  heartbeat_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE revocation.replicas IS 'The replicas of the revocation service that live: only their claims on leases count';
COMMENT ON COLUMN revocation.replicas.replica_id IS 'Made anew whenever a replica joins: at its start, and after the others may have taken it for dead';
COMMENT ON COLUMN revocation.replicas.backend_pid IS 'With backend_start: the connection that it keeps, as in pg_stat_activity. Without it, it is dead';
COMMENT ON COLUMN revocation.replicas.backend_start IS 'See backend_pid, which alone another connection may have later';
COMMENT ON COLUMN revocation.replicas.joined_at IS 'When it joined';
COMMENT ON COLUMN revocation.replicas.heartbeat_at IS 'When it was last heard of, by Postgres'' clock';
