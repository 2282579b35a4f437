-- What a renewal starts from. Only leases that can be renewed have a row, so that the others cost nothing.
CREATE TABLE policy.renewable_leases (
  lease_id uuid PRIMARY KEY REFERENCES policy.reservations ON DELETE CASCADE,
  started_at timestamptz NOT NULL,
  renewals integer NOT NULL DEFAULT 0 CHECK (renewals >= 0),
  ttl_seconds integer NOT NULL CHECK (ttl_seconds > 0),
  scope jsonb NOT NULL,
  claimed_task text,
  justification text
);

COMMENT ON TABLE policy.renewable_leases IS 'Granted leases that may be renewed, with what they were granted with; goes with the reservation';
COMMENT ON COLUMN policy.renewable_leases.lease_id IS 'jti of the grant';
COMMENT ON COLUMN policy.renewable_leases.started_at IS 'When it was granted; the maximum life counts from here';
COMMENT ON COLUMN policy.renewable_leases.renewals IS 'Renewals so far, as events have told; revocation, which knows for certain, counts again';
COMMENT ON COLUMN policy.renewable_leases.ttl_seconds IS 'TTL of the grant: what a renewal that asks for nothing gets';
COMMENT ON COLUMN policy.renewable_leases.scope IS 'Effective scope; a renewal is refused when the credential no longer allows it';
COMMENT ON COLUMN policy.renewable_leases.claimed_task IS 'What the agent said it was doing';
COMMENT ON COLUMN policy.renewable_leases.justification IS 'Why the agent said it needed it';
