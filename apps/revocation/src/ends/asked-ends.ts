/**
 * Ends of what somebody holds: a lease given back, a session that is over. Durable before the answer, tried at once, and then
 * for ever.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { MayflyError, type EndOutcome } from '@mayfly/contracts';
import type { Delivery } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { currentTraceparent, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { notFound, type Askers } from '../asking/asker.ts';
import type { Presence } from '../replicas/presence.ts';
import { startEnd } from '../store/ends.ts';
import { endSessionLeases, fenceSubject, type MovePlace } from '../store/revocations.ts';
import type { Ender } from './ender.ts';
import { endOutcome } from './outcome.ts';

export interface AskedEndsOptions {
  readonly pool: Pool;
  readonly askers: Askers;
  readonly ender: Pick<Ender, 'endNow'>;
  readonly due: Nudgeable;
  readonly logger: Pick<Logger, 'error'>;
  /** Who claims what is to be tried at once. */
  readonly presence: Pick<Presence, 'replicaId' | 'doubt'>;
  /** How long an asker is kept waiting for ends that can be immediate. */
  readonly answerMs: number;
}

/** Most leases of a session that are moved to their end in one transaction. */
const batchSize = 1_000;

/** Ids of leases further from now than this can't be of a mint under way: a grant lives 30 s. Milliseconds. */
const mintUnderWayMs = 5 * 60_000;

export class AskedEnds {
  constructor(private readonly options: AskedEndsOptions) {}

  /** Gives one lease back. Throws `not_found` for what is not the asker's, or not here. */
  async endLease(assertion: string): Promise<EndOutcome> {
    const { pool, askers, ender, presence, answerMs, logger } = this.options;
    const { organization, onlyAgent, act } = await askers.identify(assertion, 'end_lease');
    const start = await startEnd(pool, {
      organization,
      leaseId: act.lease_id,
      onlyAgent,
      reason: act.reason,
      causeTraceparent: currentTraceparent(),
      replicaId: presence.replicaId,
      fenceUnknown: mayBeUnderWay(act.lease_id, Date.now()),
    }).catch((error: unknown) => {
      // It may have been claimed all the same.
      presence.doubt();
      throw error;
    });
    failpoint('revocation.end-asked.committed');
    if (start.outcome === 'not_found') throw notFound();
    if (start.outcome !== 'claimed') return { lease_id: act.lease_id, outcome: start.outcome };
    const { lease } = start;
    const end = ender.endNow(lease).catch((error: unknown) => {
      presence.doubt();
      logger.error(
        { err: error, lease_id: lease.leaseId },
        'an end could not be recorded; it will be repeated',
      );
      return 'later' as const;
    });
    const result = await Promise.race([end, sleep(answerMs, 'later' as const, { ref: false })]);
    return endOutcome(
      { leaseId: lease.leaseId, revocability: lease.revocability, nativeExpiresAt: lease.nativeExpiresAt },
      result === 'later' ? undefined : new Date(),
    );
  }

  /**
   * Ends all leases of a session that policy has closed: the asker's own, or any of the organization for an administrator.
   * Safe to repeat; the event of the closed session repeats it until it is done.
   */
  async endSession(assertion: string): Promise<{ matched: number }> {
    const asker = await this.options.askers.identify(assertion, 'end_session');
    const { organization, act } = asker;
    if (act.session_id !== asker.sessionId && !asker.isAdministrator) {
      throw new MayflyError('policy_denied', 'Only an administrator may end the session of another.');
    }
    return { matched: await this.#endSession(organization, act.session_id, currentTraceparent()) };
  }

  /** The same for sessions that policy has closed. Safe to repeat. */
  async sessionsClosed(deliveries: readonly Pick<Delivery, 'event' | 'reject'>[]): Promise<void> {
    for (const { event, reject } of deliveries) {
      const { organization, session_id } = event.data;
      if (organization === undefined || session_id === undefined) {
        reject('the event lacks organization or session_id');
        continue;
      }
      await this.#endSession(organization, session_id, event.traceparent ?? currentTraceparent());
    }
  }

  /** The fence commits first; then the leases move, some at a time. */
  async #endSession(
    organization: string,
    sessionId: string,
    causeTraceparent: string | undefined,
  ): Promise<number> {
    const { pool, due } = this.options;
    const reason = 'session_ended';
    await fenceSubject(pool, organization, { kind: 'session', id: sessionId }, reason, true);
    let matched = 0;
    let place: MovePlace | undefined;
    for (let isFinished = false; !isFinished;) {
      const session = { organization, sessionId, reason, causeTraceparent };
      const batch = await endSessionLeases(pool, session, batchSize, place);
      if (batch.moved > 0) due.nudge();
      matched += batch.moved;
      place = batch.place;
      isFinished = batch.finished;
    }
    return matched;
  }
}

/**
 * Whether a lease that is not known here may be being minted: its id, a UUIDv7 (RFC 9562 §5.7), was made just now. It
 * bounds the fences that asking for made-up ids can leave.
 */
export function mayBeUnderWay(leaseId: string, nowMs: number): boolean {
  const hex = leaseId.replaceAll('-', '');
  if (hex[12] !== '7') return false;
  return Math.abs(Number.parseInt(hex.slice(0, 12), 16) - nowMs) < mintUnderWayMs;
}
