-- Ended leases of which what they left upstream can't be removed so far. They count against their own orchestration at their own
-- integration and against nobody else: what a lease leaves, and how hard it is to remove, is in the hands of who held it.
--
-- Only what fails has a row, so a decision costs one look into a table that is nearly always empty.
CREATE TABLE policy.failing_cleanups (
  lease_id uuid PRIMARY KEY,
  organization text NOT NULL,
  orchestration text NOT NULL,
  integration text NOT NULL,
  since timestamptz NOT NULL DEFAULT now(),
  asked_about_at timestamptz
);

COMMENT ON TABLE policy.failing_cleanups IS 'One row per ended lease whose clean-up upstream fails; goes when it is cleaned up after. No reference to reservations: those are forgotten sooner';
COMMENT ON COLUMN policy.failing_cleanups.lease_id IS 'The lease';
COMMENT ON COLUMN policy.failing_cleanups.organization IS 'The organization of the lease';
COMMENT ON COLUMN policy.failing_cleanups.orchestration IS 'The orchestration of the agent that held it, from its SPIFFE ID';
COMMENT ON COLUMN policy.failing_cleanups.integration IS 'Where it left something';
COMMENT ON COLUMN policy.failing_cleanups.since IS 'When it was heard that the clean-up fails';
COMMENT ON COLUMN policy.failing_cleanups.asked_about_at IS 'When the register was last asked whether it is cleaned up after, in case that no event tells';

CREATE INDEX failing_cleanups_place ON policy.failing_cleanups (organization, orchestration, integration);

-- Whether as many clean-ups of an orchestration's leases at an integration fail as may. Counting stops at the limit. Without an
-- orchestration, never. PL/pgSQL, because it keeps its plan: every decision calls it.
CREATE FUNCTION policy.too_many_failing_cleanups(
  p_organization text,
  p_orchestration text,
  p_integration text,
  p_most integer
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN p_orchestration IS NOT NULL AND EXISTS (
    SELECT FROM policy.failing_cleanups f
    WHERE f.organization = p_organization AND f.orchestration = p_orchestration AND f.integration = p_integration
    OFFSET p_most - 1);
END
$$;

COMMENT ON FUNCTION policy.too_many_failing_cleanups IS 'Whether an orchestration gets no more leases at an integration, for what its earlier ones left there';
