-- A recovery from the machine (`mayfly-policy recover --end-leases`) orders revocations without any session.

ALTER TABLE revocation.revocations ALTER COLUMN asked_session_id DROP NOT NULL;
ALTER TABLE revocation.revocations
  ADD CONSTRAINT only_recovery_has_no_session CHECK ((asked_by = 'recovery') = (asked_session_id IS NULL));

COMMENT ON COLUMN revocation.revocations.asked_by IS 'SPIFFE ID of the administrator, or recovery';
COMMENT ON COLUMN revocation.revocations.asked_session_id IS 'The session of the administrator; null for a recovery';
