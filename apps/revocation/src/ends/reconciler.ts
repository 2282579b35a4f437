/**
 * Mints without activation: an intent that nobody finished becomes an orphan, so that a late activation is refused, and
 * then what it may have left upstream is removed. The same for mints that failed and said that something may be left.
 */
import { bus, MayflyError } from '@mayfly/contracts';
import { PeerBreaker, type BusClient } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { inTrace, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { leaseEvent } from '../lease-event.ts';
import { leaseAttributes } from '../lease-attributes.ts';
import { completeCleanup, orphan, postpone, putOff, recordAccessEnded } from '../store/due.ts';
import { upstreamOf, type Lease } from '../store/lease.ts';
import { retryWaitMs, type Backoff } from './backoff.ts';
import type { Upstreams } from './upstreams.ts';
import type { Claims } from './claims.ts';
import type { ProviderSlots } from './provider-slots.ts';

export interface ReconcilerOptions {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  readonly slots: ProviderSlots;
  readonly claims: Claims;
  readonly relay: Nudgeable;
  readonly logger: Pick<Logger, 'warn' | 'error'>;
  readonly backoff: Backoff;
  readonly upstreams: Upstreams;
  readonly loudAfter: number;
  readonly onFailure: (provider: string) => void;
}

/** Longest that policy is waited for, in milliseconds: what waits has a slot, which an end could have. */
const policyAnswersMs = 2_000;
/** Silences in a row after which policy is asked every second only. */
const policyBreaker = { failures: 3, openMs: 1_000 };

export class Reconciler {
  readonly #policy: PeerBreaker;

  constructor(private readonly options: ReconcilerOptions) {
    this.#policy = new PeerBreaker({ peer: 'policy', ...policyBreaker, logger: options.logger });
  }

  /** Takes a claimed lease that is `intended` and overdue, or ended with its clean-up pending. */
  reconcile(lease: Lease): Promise<void> {
    const { claims, slots } = this.options;
    return claims.hold(lease, () => slots.run(upstreamOf(lease), () => this.#reconcileInTrace(lease)));
  }

  #reconcileInTrace(lease: Lease): Promise<void> {
    return inTrace(
      lease.issuanceTraceparent,
      'lease.reconcile',
      {
        attributes: leaseAttributes(lease),
      },
      () => this.#reconcile(lease),
    );
  }

  async #reconcile(lease: Lease): Promise<void> {
    const { pool, relay, logger } = this.options;
    if (lease.state === 'intended') {
      const event = leaseEvent('credential.orphaned', lease, {
        reason: 'not_activated',
        outcome: 'orphaned',
      });
      failpoint('revocation.orphan.before');
      if (!(await orphan(pool, lease, event))) return;
      failpoint('revocation.orphan.committed');
      relay.nudge();
      logger.warn(
        { lease_id: lease.leaseId, provider: lease.provider },
        'a mint was never activated; what it left upstream is being removed',
      );
    }
    try {
      const removed = await this.#removeUpstream(lease);
      if (removed.outcome === 'access_ended') {
        await recordAccessEnded(pool, lease, retryWaitMs(1, this.options.backoff), removed.handle);
        return;
      }
      await completeCleanup(pool, lease, removed.outcome === 'unreachable' ? 'unreachable' : 'done');
      failpoint('revocation.cleanup.committed');
    } catch (error) {
      await this.#tryLater(lease, error);
    }
  }

  /** By the handle where minting had one to give, otherwise by the lease's name. */
  async #removeUpstream(
    lease: Lease,
  ): Promise<{ readonly outcome: string; readonly handle?: string | undefined }> {
    const { client, upstreams, logger } = this.options;
    const { handle } = lease;
    if (handle !== undefined) {
      const { leaseId, organization, integration, provider } = lease;
      const input = { lease_id: leaseId, organization, integration, provider, handle };
      return upstreams.endAccess(lease, (limit) => client.call(bus.minting.revokeAtProvider, input, limit));
    }
    const order = await this.#order(lease);
    if (order === undefined) {
      logger.error(
        { lease_id: lease.leaseId, credential: lease.credential, config_version: lease.configVersion },
        'what a mint may have left upstream cannot be looked for: no configuration knows its integration',
      );
      return { outcome: 'unreachable' };
    }
    return upstreams.endAccess(lease, (limit) =>
      client.call(bus.minting.reconcileAtProvider, { order }, limit),
    );
  }

  /**
   * Undefined when policy will never know where to look: neither that configuration nor the running one has the integration. While
   * policy is silent, `dependency_unavailable` at once.
   */
  async #order(lease: Lease): Promise<string | undefined> {
    this.#policy.refuseWhileSilent();
    const input = {
      lease_id: lease.leaseId,
      organization: lease.organization,
      credential: lease.credential,
      config_version: lease.configVersion,
    };
    const limit = { timeoutMs: policyAnswersMs };
    try {
      const ordered = await this.#policy.listening(() =>
        this.options.client.call(bus.policy.orderReconciliation, input, limit),
      );
      return ordered.order;
    } catch (error) {
      if (error instanceof MayflyError && error.code === 'not_found') return undefined;
      throw error;
    }
  }

  async #tryLater(lease: Lease, error: unknown): Promise<void> {
    const { pool, logger, backoff, loudAfter, onFailure, upstreams } = this.options;
    const code = error instanceof MayflyError ? error.code : 'internal';
    // Minting, or policy.
    const isOurs = code === 'dependency_unavailable';
    const waitMs = isOurs ? retryWaitMs(1, backoff) : await upstreams.waitMs(lease, code, backoff);
    const fields = {
      err: error,
      lease_id: lease.leaseId,
      provider: lease.provider,
      attempts: lease.attempts,
      retry_in_ms: Math.round(waitMs),
      code,
    };
    // The upstream was not asked, so far as is known: that says nothing of it.
    if (isOurs) {
      logger.warn(fields, 'nobody could be asked to clean up after a mint; it will be tried again');
      return putOff(pool, lease, waitMs, code);
    }
    onFailure(lease.provider);
    logger[lease.attempts < loudAfter ? 'warn' : 'error'](
      fields,
      'what a mint may have left upstream could not be removed; it will be tried again',
    );
    await postpone(pool, lease, waitMs, code);
  }
}
