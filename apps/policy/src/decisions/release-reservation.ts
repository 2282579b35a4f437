/** Gives back the place within the limits that a grant holds which came to nothing. */
import { bus, type GrantClaims, type InputOf, type OutputOf } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import { describeWork } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { recordLeaseNews } from '../store/reservations.ts';

export interface ReleaseReservationParts {
  readonly grants: Pick<TokenVerifier<GrantClaims>, 'verify'>;
  readonly client: Pick<BusClient, 'call'>;
  readonly pool: Pool;
}

/** A grant may be given back for a while after it has run out. Seconds. */
const toleranceSeconds = 300;

export class ReleaseReservation {
  constructor(private readonly parts: ReleaseReservationParts) {}

  /**
   * First the register makes sure that nothing can be activated by this grant; only then the place is free. So whoever gives
   * back a grant and redeems it all the same gains nothing. A mint that has begun tells by its events when it is over.
   * Throws `unauthenticated` for a grant that is not policy's own, `dependency_unavailable`.
   */
  async run({
    grant,
  }: InputOf<typeof bus.policy.releaseReservation>): Promise<OutputOf<typeof bus.policy.releaseReservation>> {
    const {
      jti: leaseId,
      actor,
      credential,
    } = await this.parts.grants.verify(grant, {
      now: new Date(),
      clockToleranceSeconds: toleranceSeconds,
    });
    describeWork({ ...actor, lease_id: leaseId, credential });
    const { outcome } = await this.parts.client.call(bus.revocation.cancelGrant, { grant });
    if (outcome === 'begun') return { outcome };
    await recordLeaseNews(this.parts.pool, [{ leaseId, issued: false, ended: true }]);
    return { outcome: 'released' };
  }
}
