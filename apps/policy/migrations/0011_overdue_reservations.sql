-- An end that no event ever told would hold a place within the limits for ever. So the register is asked about leases whose time
-- must be over.
ALTER TABLE policy.reservations ADD COLUMN asked_about_at timestamptz;

COMMENT ON COLUMN policy.reservations.asked_about_at IS 'When the register was last asked whether the lease has ended; null for nearly all, whose end is told by an event in time';
