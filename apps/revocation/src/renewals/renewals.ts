/**
 * Renewal in place: noted in the register, done at the provider, committed in the register, in this order. So the upstream
 * never works for longer than the register knows, and a crash at any point leaves a lease that ends at its old time.
 */
import { bus, MayflyError, type OutputOf, type RenewalClaims } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import {
  currentTraceparent,
  describeWork,
  inTrace,
  LeaseSpan,
  SpanAttribute,
  traceIdOf,
  type Logger,
} from '@mayfly/telemetry';
import type { TokenVerifier } from '@mayfly/tokens';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { notFound } from '../asking/asker.ts';
import { leaseEvent, type EventMore } from '../lease-event.ts';
import { leaseAttributes } from '../lease-attributes.ts';
import type { Lease } from '../store/lease.ts';
import {
  beginRenewal,
  commitRenewal,
  giveUpRenewal,
  type BegunRenewal,
  type RenewalEnd,
  type RenewalStart,
} from '../store/renewals.ts';

export interface RenewalsOptions {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  readonly grants: Pick<TokenVerifier<RenewalClaims>, 'verify'>;
  /** Publishes what has been committed. */
  readonly relay: Nudgeable;
  readonly logger: Pick<Logger, 'warn'>;
  /** As for activations, in milliseconds. */
  readonly fenceToleranceMs: number;
}

type Renewed = OutputOf<typeof bus.revocation.renewLease>;

/**
 * Other renewals of a lease wait this long for one of which nothing more is heard. Longer than a call of the provider can
 * take, so that what a slow one did upstream is never younger than what its successor did. Milliseconds.
 */
const claimMs = bus.minting.renewAtProvider.bus.timeoutMs + 5_000;

/** How much later than the lease the upstream may end it by itself: as much as clocks may be apart. Milliseconds. */
const nativeMarginMs = 60_000;

export class Renewals {
  constructor(private readonly options: RenewalsOptions) {}

  /**
   * Throws `unauthenticated` for a grant that policy did not sign, `not_found` for a lease that is not the session's,
   * `lease_ended`, `policy_denied`, `ttl_exceeded`, `conflict` while another renewal is under way, and what the
   * provider throws.
   */
  async renew(signedGrant: string): Promise<Renewed> {
    const grant = await this.options.grants.verify(signedGrant, { now: new Date() });
    const { actor, lease_id, credential, integration, provider } = grant;
    describeWork({ ...actor, lease_id, credential, integration, provider });
    failpoint('revocation.renewal.before');
    const start = await beginRenewal(this.options.pool, {
      renewalId: grant.jti,
      grantedAt: grant.granted_at,
      organization: actor.organization,
      leaseId: grant.lease_id,
      sessionId: actor.session_id,
      asker: grant.asker,
      fenceToleranceMs: this.options.fenceToleranceMs,
      notAfter: grant.expires_at,
      maxLifeSeconds: grant.max_life_seconds,
      maxCount: grant.max_count,
      claimMs,
      nativeMarginMs,
    });
    if (start.outcome !== 'begun') throw refusal(start.outcome, grant);
    failpoint('revocation.renewal.begun');
    const { lease } = start;
    const cause = currentTraceparent();
    return inTrace(
      lease.issuanceTraceparent,
      LeaseSpan.renew,
      {
        attributes: leaseAttributes(lease),
      },
      async (span) => {
        const end = await this.#renew(start, grant, signedGrant, cause).catch(async (error: unknown) => {
          span.setAttribute(SpanAttribute.outcome, 'failed');
          await this.#giveUp(start, grant);
          throw error;
        });
        span.setAttribute(SpanAttribute.outcome, 'renewed');
        return end;
      },
    );
  }

  async #renew(
    begun: BegunRenewal,
    grant: RenewalClaims,
    signedGrant: string,
    cause: string | undefined,
  ): Promise<Renewed> {
    const { pool, client, relay, fenceToleranceMs } = this.options;
    const { lease, nativeNotAfter, renewedUntil, ttlSeconds } = begun;
    // A credential that has changed hands since: the permission is for another one.
    if (lease.provider !== grant.provider || lease.credential !== grant.credential) {
      throw new MayflyError('policy_denied', 'The credential is not what the lease was minted from.');
    }
    if (lease.handle === undefined) throw new MayflyError('internal', 'A live lease has no handle.');
    const { native_expires_at: native } = await client.call(bus.minting.renewAtProvider, {
      grant: signedGrant,
      handle: lease.handle,
      ttl_seconds: ttlSeconds,
      native_not_after: nativeNotAfter.toISOString(),
    });
    // The commit replaces the end, which here is still the old one.
    const event = leaseEvent('credential.renewed', lease, {
      ...(native !== undefined && { native_expires_at: native }),
      ttl_seconds: ttlSeconds,
      source_ip: grant.source_ip,
      policy_ids: grant.policy_ids,
      config_version: grant.config_version,
      outcome: 'in_place',
      ...askedBy(grant.asker, lease),
      causeTraceparent: cause,
    });
    failpoint('revocation.renewal.prolonged');
    const end = await commitRenewal(pool, {
      leaseId: lease.leaseId,
      renewalId: grant.jti,
      asker: grant.asker,
      fenceToleranceMs,
      renewedUntil,
      nativeExpiresAt: native,
      event,
    });
    if (end.outcome !== 'renewed') throw lost(end.outcome);
    failpoint('revocation.renewal.committed');
    relay.nudge();
    return answer(begun, end, native);
  }

  /** Not having done it costs the next renewal a wait and nothing else. */
  async #giveUp({ lease }: BegunRenewal, grant: RenewalClaims): Promise<void> {
    await giveUpRenewal(this.options.pool, lease.leaseId, grant.jti).catch((error: unknown) => {
      this.options.logger.warn(
        { err: error, lease_id: lease.leaseId },
        'a renewal that failed is still marked as under way; the next has to wait for it',
      );
    });
  }
}

/** The event speaks of the lease, so of the session that holds it; empty where that is who asked. */
function askedBy({ session_id, user }: RenewalClaims['asker'], lease: Lease): EventMore {
  if (session_id === lease.sessionId) return {};
  return { action_context: { asked_by: { session_id, ...(user !== undefined && { user }) } } };
}

function answer(
  { lease, ttlSeconds }: BegunRenewal,
  { expiresAt, renewals }: Extract<RenewalEnd, { outcome: 'renewed' }>,
  native: string | undefined,
): Renewed {
  const { issuedAt, revocability } = lease;
  // What is active has both; the table's constraints say so.
  if (issuedAt === undefined || revocability === undefined) {
    throw new MayflyError('internal', 'A live lease is incomplete.');
  }
  return {
    lease_id: lease.leaseId,
    credential: lease.credential,
    provider: lease.provider,
    issued_at: issuedAt.toISOString(),
    expires_at: expiresAt.toISOString(),
    ...(native !== undefined && { native_expires_at: native }),
    ttl_seconds: ttlSeconds,
    scope: lease.scope,
    revocability,
    renewals,
    trace_id: traceIdOf(lease.issuanceTraceparent) ?? '0'.repeat(32),
  };
}

type Refused = Exclude<RenewalStart['outcome'], 'begun'>;

function refusal(outcome: Refused, { limit, max_count }: RenewalClaims): MayflyError {
  switch (outcome) {
    case 'not_found':
      return notFound();
    case 'ended':
      return lost('ended');
    case 'not_renewable':
      return new MayflyError('policy_denied', 'The lease was not granted as renewable.');
    case 'too_often':
      return new MayflyError('policy_denied', `It has been renewed ${max_count} times, which is the most.`);
    case 'used':
      return new MayflyError('conflict', 'This renewal, or a later one, has been used.');
    case 'busy':
      return new MayflyError('conflict', 'Another renewal of this lease is under way.');
    case 'not_later':
      return new MayflyError('ttl_exceeded', notLater[limit]);
  }
}

const notLater = {
  ttl: 'It lives at least that long already.',
  max_life: 'It is at its maximum life.',
  session: 'It lives to the end of its session already.',
} as const satisfies Record<RenewalClaims['limit'], string>;

function lost(outcome: 'ended' | 'lost'): MayflyError {
  return outcome === 'ended'
    ? new MayflyError('lease_ended', 'The lease has ended.')
    : new MayflyError('conflict', 'Another renewal of this lease has taken its place.');
}
