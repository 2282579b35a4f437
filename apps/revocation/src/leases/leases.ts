/** What holders and administrators may read of leases, and the uses they report. */
import { MayflyError, type InputOf, type LeaseView, type OutputOf, type bus } from '@mayfly/contracts';
import type { EventPublisher } from '@mayfly/messaging';
import { currentTraceparent, inTrace, LeaseSpan, SpanAttribute, traceIdOf } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { notFound, type Askers } from '../asking/asker.ts';
import { leaseEvent } from '../lease-event.ts';
import { leaseAttributes } from '../lease-attributes.ts';
import type { Lease } from '../store/lease.ts';
import { findLease, findEnded, findPendingCleanUps, isLive, listLeases } from '../store/reading.ts';

export interface LeasesOptions {
  readonly pool: Pool;
  readonly askers: Askers;
  readonly publisher: Pick<EventPublisher, 'signal'>;
}

export class Leases {
  constructor(private readonly options: LeasesOptions) {}

  /** Throws `not_found` for a lease that is not the asker's, or not there. */
  async get(assertion: string): Promise<LeaseView> {
    const { pool, askers } = this.options;
    const { organization, onlyAgent, act } = await askers.identify(assertion, 'read_lease');
    const lease = await findLease(pool, organization, act.lease_id, onlyAgent);
    if (lease === undefined) throw notFound();
    return viewOf(lease);
  }

  /** Newest first; `next` is there when there may be more. */
  async list(
    input: InputOf<typeof bus.revocation.listLeases>,
  ): Promise<OutputOf<typeof bus.revocation.listLeases>> {
    const { pool, askers } = this.options;
    const { organization, onlyAgent } = await askers.identify(input.assertion, 'list_leases');
    const leases = await listLeases(pool, {
      organization,
      onlyAgent,
      which: input.state,
      before: input.after,
      limit: input.limit,
    });
    const last = leases.length === input.limit ? leases.at(-1) : undefined;
    const isFailing = input.state === 'failing';
    return {
      leases: leases.map((lease) => viewOf(lease, isFailing)),
      ...(last !== undefined && { next: last.leaseId }),
    };
  }

  /** For introspection: any lease of the asker's organization; what is not there does not live. */
  async status(input: InputOf<typeof bus.revocation.leaseStatus>): Promise<{ live: boolean }> {
    const { pool, askers } = this.options;
    const { organization } = await askers.identify(input.assertion, 'introspect');
    return { live: await isLive(pool, organization, input.lease_id) };
  }

  /**
   * For policy, which counts leases until it hears of their end: those of the leases that have ended. What was issued and is not
   * known any more ended long ago. One that cannot be ended has not (I10).
   */
  async ended({
    lease_ids,
  }: InputOf<typeof bus.revocation.endedLeases>): Promise<OutputOf<typeof bus.revocation.endedLeases>> {
    return { ended: await findEnded(this.options.pool, lease_ids) };
  }

  /** For policy, which counts failing clean-ups until it hears that they are done: those of the leases whose clean-up is not. */
  async pendingCleanUps({
    lease_ids,
  }: InputOf<typeof bus.revocation.pendingCleanUps>): Promise<
    OutputOf<typeof bus.revocation.pendingCleanUps>
  > {
    return { pending: await findPendingCleanUps(this.options.pool, lease_ids) };
  }

  /** Throws `not_found` for a lease that is not the asker's own, `lease_ended` for one that does not live any more. */
  async reportUse(input: InputOf<typeof bus.revocation.reportUse>): Promise<Record<string, never>> {
    const { pool, askers, publisher } = this.options;
    const { organization, agentId, act } = await askers.identify(input.assertion, 'report_use');
    const lease = await findLease(pool, organization, act.lease_id, agentId);
    // An intent is not a lease yet, as far as its agent knows.
    if (lease === undefined || lease.state === 'intended') throw notFound();
    if (lease.state !== 'active') throw new MayflyError('lease_ended', 'The lease has ended.');
    const causeTraceparent = currentTraceparent();
    await inTrace(
      lease.issuanceTraceparent,
      LeaseSpan.use,
      {
        attributes: {
          ...leaseAttributes(lease),
          [SpanAttribute.outcome]: input.outcome,
        },
      },
      () =>
        publisher.signal(
          leaseEvent('credential.used', lease, {
            source: 'reported',
            outcome: input.outcome,
            ...(input.action !== undefined && { action_context: { action: input.action } }),
            causeTraceparent,
          }),
        ),
    );
    return {};
  }
}

/**
 * Never the secret, never the handle.
 * @param isOverdue Its end is overdue, also if no attempt has failed so far.
 */
export function viewOf(lease: Lease, isOverdue = false): LeaseView {
  const { issuedAt, expiresAt, nativeExpiresAt, endedAt, lastError, dueAt } = lease;
  return {
    lease_id: lease.leaseId,
    state: lease.state,
    credential: lease.credential,
    provider: lease.provider,
    agent_id: lease.agentId,
    session_id: lease.sessionId,
    ...(lease.user !== undefined && { user: lease.user }),
    ...(lease.task !== undefined && { task: lease.task }),
    scope: lease.scope,
    ttl_seconds: lease.ttlSeconds,
    ...(issuedAt !== undefined && { issued_at: issuedAt.toISOString() }),
    ...(expiresAt !== undefined && { expires_at: expiresAt.toISOString() }),
    ...(nativeExpiresAt !== undefined && { native_expires_at: nativeExpiresAt.toISOString() }),
    ...(endedAt !== undefined && { ended_at: endedAt.toISOString() }),
    ...(lease.endReason !== undefined && { end_reason: lease.endReason }),
    ...(lease.accessEndedAt !== undefined && lease.cleanup === 'pending' && { cleanup: 'pending' as const }),
    ...((lastError !== undefined || isOverdue) &&
      dueAt !== undefined && {
        failing: {
          attempts: lease.attempts,
          ...(lastError !== undefined && { last_error: lastError }),
          next_attempt_at: dueAt.toISOString(),
        },
      }),
    ...(lease.revocability !== undefined && { revocability: lease.revocability }),
    renewable: lease.renewable,
    renewals: lease.renewals,
    ...(lease.predecessorId !== undefined && { predecessor_id: lease.predecessorId }),
    ...(lease.successorId !== undefined && { successor_id: lease.successorId }),
    ...(lease.lastRenewedAt !== undefined && { last_renewed_at: lease.lastRenewedAt.toISOString() }),
    trace_id: traceIdOf(lease.issuanceTraceparent) ?? '0'.repeat(32),
  };
}
