/** Ends one claimed lease: at its provider first, then in the register. */
import { bus, MayflyError } from '@mayfly/contracts';
import { withoutDeadline, type BusClient } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { currentTraceparent, inTrace, LeaseSpan, SpanAttribute, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { leaseEvent } from '../lease-event.ts';
import { leaseAttributes } from '../lease-attributes.ts';
import { completeEnds, declareFailing, postpone, putOff, releaseClaim, type Ended } from '../store/due.ts';
import { upstreamOf, type Lease } from '../store/lease.ts';
import { retryWaitMs, type Backoff } from './backoff.ts';
import type { Upstreams } from './upstreams.ts';
import { Completions } from './completions.ts';
import type { Claims } from './claims.ts';
import type { ProviderSlots } from './provider-slots.ts';

export interface EnderOptions {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  readonly slots: ProviderSlots;
  readonly claims: Claims;
  readonly relay: Nudgeable;
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  readonly backoff: Backoff;
  readonly upstreams: Upstreams;
  /** Failed attempts after which it becomes loud. */
  readonly loudAfter: number;
  /** Told of every failed attempt, for metrics; not of those for which the upstream was not asked. */
  readonly onFailure: (provider: string) => void;
}

/** `expired` and `revoked`: ended by this call. `later`: it failed, waits or went to another replica, and will be tried again. */
export type EndResult = 'expired' | 'revoked' | 'later';

export class Ender {
  readonly #completions: Completions<Ended>;

  constructor(private readonly options: EnderOptions) {
    this.#completions = new Completions((ends) => completeEnds(options.pool, ends));
  }

  /** Never rejects for what an upstream does; rejects when the register can't be written. */
  end(lease: Lease): Promise<EndResult> {
    const { slots, claims } = this.options;
    // Goes on after whoever asked for it has had the answer.
    return withoutDeadline(() =>
      claims.hold(lease, () => slots.run(upstreamOf(lease), () => this.#endInTrace(lease))),
    );
  }

  /** As `end`, unless as many wait here as may: then the claim is given back, and the due loop takes it when there is room. */
  async endNow(lease: Lease): Promise<EndResult> {
    if (this.options.slots.roomFor(upstreamOf(lease)) > 0) return this.end(lease);
    await releaseClaim(this.options.pool, lease);
    return 'later';
  }

  #endInTrace(lease: Lease): Promise<EndResult> {
    const state = lease.endCause ?? 'revoked';
    return inTrace(
      lease.issuanceTraceparent,
      state === 'expired' ? LeaseSpan.expire : LeaseSpan.revoke,
      {
        // The active span, where there is one, is linked anyway.
        links: [lease.endTraceparent].filter(
          (link) => link !== undefined && link !== currentTraceparent(),
        ) as string[],
        attributes: leaseAttributes(lease),
      },
      async (span) => {
        let isCleanedUp: boolean;
        try {
          failpoint('revocation.provider.before');
          isCleanedUp = await this.#endAtProvider(lease);
          failpoint('revocation.provider.after');
        } catch (error) {
          span.setAttribute(SpanAttribute.outcome, 'failed');
          await this.#tryLater(lease, error);
          return 'later';
        }
        span.setAttribute(SpanAttribute.outcome, state);
        const event = leaseEvent(`credential.${state}`, lease, {
          ...(lease.endReason !== undefined && { reason: lease.endReason }),
          outcome: state,
          ...(!isCleanedUp && { cleanup: 'pending' as const }),
          causeTraceparent: lease.endTraceparent,
        });
        const { leaseId, claims } = lease;
        const cleanUpInMs = retryWaitMs(1, this.options.backoff);
        const ended = { leaseId, claims, state, event, ...(!isCleanedUp && { cleanUpInMs }) };
        // Not by this call when the claim was lost meanwhile: then whoever has it writes it.
        if (!(await this.#completions.add(ended))) return 'later';
        failpoint('revocation.end.committed');
        this.options.relay.nudge();
        return state;
      },
    );
  }

  /** Whether nothing is left upstream; either way the access has ended. */
  async #endAtProvider(lease: Lease): Promise<boolean> {
    // Nothing upstream can be told: it ends by itself, and until then the register says that it is over.
    if (lease.revocability?.kind === 'expiry_only') return true;
    if (lease.handle === undefined) {
      throw new MayflyError('internal', 'A live lease has no handle.');
    }
    const { leaseId, organization, integration, provider, handle } = lease;
    const input = { lease_id: leaseId, organization, integration, provider, handle };
    const { outcome } = await this.options.upstreams.endAccess(lease, (limit) =>
      this.options.client.call(bus.minting.revokeAtProvider, input, limit),
    );
    return outcome !== 'access_ended';
  }

  async #tryLater(lease: Lease, error: unknown): Promise<void> {
    const { pool, logger, onFailure, backoff, loudAfter, relay, upstreams } = this.options;
    const code = error instanceof MayflyError ? error.code : 'internal';
    const waitMs = await upstreams.waitMs(lease, code, backoff);
    const fields = {
      err: error,
      lease_id: lease.leaseId,
      provider: lease.provider,
      integration: lease.integration,
      attempts: lease.attempts,
      retry_in_ms: Math.round(waitMs),
    };
    // The upstream was not asked, so far as is known: that says nothing of it.
    if (code === 'dependency_unavailable') {
      logger.warn(fields, 'minting could not be asked to end a lease; it will be tried again');
      return putOff(pool, lease, waitMs, code);
    }
    onFailure(lease.provider);
    if (lease.attempts < loudAfter) {
      logger.warn(fields, 'a lease could not be ended at its provider; it will be tried again');
      return postpone(pool, lease, waitMs, code);
    }
    logger.error(fields, 'a lease cannot be ended at its provider and may still work; it is tried for ever');
    if (lease.state !== 'revoking') return postpone(pool, lease, waitMs, code);
    const event = leaseEvent('credential.revocation_failed', lease, {
      reason: code,
      outcome: 'revocation_failed',
      causeTraceparent: lease.endTraceparent,
    });
    if (await declareFailing(pool, lease, waitMs, code, event)) relay.nudge();
  }
}
