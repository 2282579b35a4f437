/** Activation, the commit point of a mint, and its opposite: a mint that released nothing. */
import { MayflyError, type bus, type GrantClaims, type InputOf, type OutputOf } from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import { currentTraceparent, describeWork, inTrace, LeaseSpan, SpanAttribute } from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { leaseEvent } from '../lease-event.ts';
import { leaseAttributes } from '../lease-attributes.ts';
import { abandonLease, activateLease, cancelGrant, type Succession } from '../store/activation.ts';
import type { Lease } from '../store/lease.ts';
import { findLease } from '../store/reading.ts';
import { factsOf, grantDetails } from './grant-facts.ts';

/** Something to be woken up. */
export interface Nudgeable {
  nudge(): void;
}

export interface ActivationsOptions {
  readonly pool: Pool;
  readonly grants: TokenVerifier<GrantClaims>;
  readonly fenceToleranceMs: number;
  /** Publishes what has been committed. */
  readonly relay: Nudgeable;
  /** Looks for due work. */
  readonly due: Nudgeable;
}

export class Activations {
  constructor(private readonly options: ActivationsOptions) {}

  /**
   * Resolves after the commit, and only then may the credential be released. Throws `lease_ended` when the lease was
   * revoked meanwhile, its session is over or its id was used before, `conflict` when it is not certain which of grant and
   * revocation was first. Repeated with the grant of a lease that is active, it refuses: nothing is released twice.
   */
  async activate(
    input: InputOf<typeof bus.revocation.activate>,
  ): Promise<OutputOf<typeof bus.revocation.activate>> {
    const { pool, relay, fenceToleranceMs } = this.options;
    const grant = await this.#verify(input.grant);
    const facts = factsOf(grant, input.issuance_traceparent);
    const native = input.native_expires_at;
    const event = leaseEvent('credential.issued', facts, {
      ...grantDetails(grant),
      ...(native !== undefined && { native_expires_at: native }),
      revocability: input.revocability,
      fingerprints: input.fingerprints,
      use_keys: input.use_keys,
      outcome: 'issued',
      causeTraceparent: currentTraceparent(),
    });
    failpoint('revocation.activation.before');
    const succession = await this.#succession(grant);
    if (succession !== undefined) failpoint('revocation.succession.before');
    const activation = await activateLease(
      pool,
      {
        ...facts,
        grantedAt: new Date(grant.granted_at),
        sessionExpiresAt: new Date(grant.session_expires_at),
        ...(native !== undefined && { nativeExpiresAt: native }),
        revocability: input.revocability,
        renewable: grant.renewal !== undefined,
        handle: input.handle,
        fingerprints: input.fingerprints,
        useKeys: input.use_keys,
        mintId: input.mint_id,
      },
      event,
      fenceToleranceMs,
      succession?.toStore,
    );
    failpoint('revocation.activation.committed');
    if (succession !== undefined) failpoint('revocation.succession.committed');
    switch (activation.outcome) {
      case 'active':
        relay.nudge();
        if (succession !== undefined) await tellRotation(succession.predecessor, grant.jti);
        return {
          issued_at: activation.issuedAt.toISOString(),
          expires_at: activation.expiresAt.toISOString(),
        };
      case 'fenced':
        throw new MayflyError('lease_ended', 'The lease was revoked while it was being minted.');
      case 'maybe_fenced':
        throw new MayflyError('conflict', 'A revocation came at the same moment; ask again.');
      case 'ended':
        throw new MayflyError('lease_ended', 'The lease has been used, or it or its session has ended.');
    }
  }

  async #verify(grant: string, tolerance: { clockToleranceSeconds?: number } = {}): Promise<GrantClaims> {
    const claims = await this.options.grants.verify(grant, { now: new Date(), ...tolerance });
    const { jti, actor, credential, integration, provider } = claims;
    describeWork({ ...actor, lease_id: jti, credential, integration: integration.name, provider });
    return claims;
  }

  /** For a grant that is to take the place of a lease. Throws `lease_ended` when that one does not live. */
  async #succession(grant: GrantClaims): Promise<{ predecessor: Lease; toStore: Succession } | undefined> {
    if (grant.predecessor === undefined || grant.renewal === undefined) return undefined;
    const { organization, agent_id } = grant.actor;
    const { lease_id, renewals } = grant.predecessor;
    const predecessor = await findLease(this.options.pool, organization, lease_id, agent_id);
    // Looked at again, under its lock, by the activation.
    if (predecessor?.state !== 'active') {
      throw new MayflyError('lease_ended', 'The lease that was to be renewed has ended.');
    }
    const event = leaseEvent('credential.renewed', predecessor, {
      successor_id: grant.jti,
      renewals,
      outcome: 'rotation',
      causeTraceparent: currentTraceparent(),
    });
    const graceSeconds = grant.renewal.grace_seconds;
    return { predecessor, toStore: { predecessorId: lease_id, renewals, graceSeconds, event } };
  }

  /**
   * Ends the lease in whatever state it is, so that nothing of this mint can be activated later. A lease that another
   * redemption of the same grant has made active stays. Safe to repeat.
   */
  async abandon(input: InputOf<typeof bus.revocation.abandon>): Promise<Record<string, never>> {
    const { pool, relay, due } = this.options;
    // Minting retries it for a while after the grant has run out; the grant only tells here what it was for.
    const grant = await this.#verify(input.grant, { clockToleranceSeconds: abandonToleranceSeconds });
    const facts = factsOf(grant, input.issuance_traceparent);
    const causeTraceparent = currentTraceparent();
    const outcome = await abandonLease(pool, {
      facts,
      event: leaseEvent('credential.failed', facts, {
        ...grantDetails(grant),
        reason: input.reason,
        outcome: 'failed',
        causeTraceparent,
      }),
      reason: input.reason,
      nothingLeft: input.cleanup === 'done',
      handle: input.handle,
      causeTraceparent,
      mintId: input.mint_id,
    });
    failpoint('revocation.abandon.committed');
    if (outcome === 'failed') relay.nudge();
    if (outcome === 'failed' || outcome === 'revoking') due.nudge();
    return {};
  }

  /** A grant that came to nothing: from here on it can't be activated, unless the register knows its lease. Safe to repeat. */
  async cancel(
    input: InputOf<typeof bus.revocation.cancelGrant>,
  ): Promise<OutputOf<typeof bus.revocation.cancelGrant>> {
    const grant = await this.#verify(input.grant, { clockToleranceSeconds: abandonToleranceSeconds });
    return { outcome: await cancelGrant(this.options.pool, grant.actor.organization, grant.jti) };
  }
}

/** Longer than any mint: its provider may take 20 s, the revocation at the provider as long, and clocks 30 s. */
const abandonToleranceSeconds = 300;

/** The rotation as a span of the old lease's own trace, linked to the request that asked for it. */
function tellRotation(predecessor: Lease, successorId: string): Promise<void> {
  return inTrace(
    predecessor.issuanceTraceparent,
    LeaseSpan.renew,
    {
      attributes: {
        ...leaseAttributes(predecessor),
        [SpanAttribute.outcome]: 'rotated',
        'mayfly.lease.successor_id': successorId,
      },
    },
    () => undefined,
  );
}
