/**
 * Removes what ended leases have left upstream. Their access has ended before, so nothing hurries and nothing waits for it: it has places
 * of its own, obeys the circuit breaker, and what fails is tried again ever more seldom. How long it takes, and whether it
 * succeeds, is in the hands of whoever held the lease.
 */
import { bus, MayflyError, type ErrorCode } from '@mayfly/contracts';
import { withoutDeadline, type BusClient } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { inTrace, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { leaseEvent } from '../lease-event.ts';
import { leaseAttributes } from '../lease-attributes.ts';
import { completeCleanup, declareCleanUpFailing, postpone, putOff } from '../store/due.ts';
import { laneOf, type Lease } from '../store/lease.ts';
import { retryWaitMs, type Backoff } from './backoff.ts';
import type { Claims } from './claims.ts';
import type { ProviderSlots } from './provider-slots.ts';
import { LeftAlone, type Upstreams } from './upstreams.ts';

export interface CleanerOptions {
  readonly pool: Pool;
  readonly client: Pick<BusClient, 'call'>;
  /** Of clean-ups alone. */
  readonly slots: ProviderSlots;
  readonly claims: Claims;
  readonly relay: Nudgeable;
  readonly logger: Pick<Logger, 'warn'>;
  readonly backoff: Backoff;
  readonly upstreams: Upstreams;
}

export class Cleaner {
  constructor(private readonly options: CleanerOptions) {}

  /** Takes a claimed lease whose access has ended and whose clean-up is pending. Rejects when the register can't be written. */
  cleanUp(lease: Lease): Promise<void> {
    const { claims, slots } = this.options;
    return withoutDeadline(() =>
      claims.hold(lease, () => slots.run(laneOf(lease), () => this.#cleanUpInTrace(lease))),
    );
  }

  #cleanUpInTrace(lease: Lease): Promise<void> {
    const attributes = leaseAttributes(lease);
    return inTrace(lease.issuanceTraceparent, 'lease.clean-up', { attributes }, () => this.#cleanUp(lease));
  }

  async #cleanUp(lease: Lease): Promise<void> {
    const { pool, client, upstreams, relay } = this.options;
    const { leaseId, organization, integration, provider, handle } = lease;
    try {
      if (handle === undefined) throw new MayflyError('internal', 'A pending clean-up has no handle.');
      const input = { lease_id: leaseId, organization, integration, provider, handle };
      await upstreams.cleanUp(lease, (limit) => client.call(bus.minting.cleanUpAtProvider, input, limit));
    } catch (error) {
      await this.#tryLater(lease, error);
      return;
    }
    const event = isAfterEnd(lease)
      ? leaseEvent('credential.cleaned_up', lease, { cleanup: 'done' })
      : undefined;
    await completeCleanup(pool, lease, 'done', event);
    failpoint('revocation.cleanup.committed');
    relay.nudge();
  }

  async #tryLater(lease: Lease, error: unknown): Promise<void> {
    const { pool, logger, backoff, upstreams, relay } = this.options;
    if (error instanceof LeftAlone)
      return putOff(pool, lease, upstreams.waitOutMs(lease, backoff), error.code);
    const code = error instanceof MayflyError ? error.code : 'internal';
    const waitMs = retryWaitMs(lease.attempts, backoff);
    const { leaseId, agentId, provider, integration, attempts } = lease;
    logger.warn(
      {
        err: error,
        lease_id: leaseId,
        agent_id: agentId,
        provider,
        integration,
        attempts,
        retry_in_ms: Math.round(waitMs),
      },
      'what a lease left upstream could not be removed; its access has ended, and this is tried again',
    );
    if (code === 'dependency_unavailable') return putOff(pool, lease, waitMs, code);
    if (!isTold(lease, code)) return postpone(pool, lease, waitMs, code);
    const event = leaseEvent('credential.cleanup_failed', lease, {
      reason: code,
      outcome: 'cleanup_failed',
      cleanup: 'pending',
    });
    if (await declareCleanUpFailing(pool, lease, waitMs, code, event)) relay.nudge();
  }
}

/** Of a mint that failed nobody was told that something is left. */
function isAfterEnd({ state }: Lease): boolean {
  return state === 'expired' || state === 'revoked';
}

/**
 * Whether a failed attempt is told, from which on the lease counts against its orchestration. It must be this lease's doing: so the
 * upstream, or minting, being away is no reason. Nor is it that the short clean-up which goes along with the end did not succeed:
 * other leases can bring that about, by locks on this one's role, and the clean-up here cuts their sessions.
 */
function isTold(lease: Lease, code: ErrorCode): boolean {
  return isAfterEnd(lease) && code === 'provider_rejected' && lease.cleanupFailedAt === undefined;
}
