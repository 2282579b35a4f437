-- Where to go on looking for leases of a revocation that have not ended.

ALTER TABLE revocation.revocations ADD COLUMN open_from uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';

COMMENT ON COLUMN revocation.revocations.open_from IS 'Once gathered: all of its leases below this one have ended, which they stay';
