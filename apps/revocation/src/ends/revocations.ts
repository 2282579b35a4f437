/** Ends that somebody asks for: durable before the answer, tried at once, and then for ever. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MayflyError, Uuid, type EndOutcome, type OutputOf, type bus } from '@mayfly/contracts';
import type { Delivery } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { currentTraceparent, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import type { Nudgeable } from '../activation/activate.ts';
import { notFound, type Askers } from '../asking/asker.ts';
import { startEnd, startRevocation, type MatchedLease } from '../store/ends.ts';
import { endedAmong } from '../store/reading.ts';
import type { Ender } from './ender.ts';
import { endOutcome } from './outcome.ts';

export interface RevocationsOptions {
  readonly pool: Pool;
  readonly askers: Askers;
  readonly ender: Pick<Ender, 'endNow'>;
  readonly due: Nudgeable;
  readonly logger: Pick<Logger, 'error'>;
  readonly claimMs: number;
  /** How long an asker is kept waiting for ends that can be immediate. */
  readonly answerMs: number;
}

/** Between two looks whether the leases of a revocation have ended: short at first. Milliseconds. */
const firstLookMs = 20;
const longestLookMs = 250;

/** Ids of leases further from now than this can't be of a mint under way: a grant lives 30 s. Milliseconds. */
const mintUnderWayMs = 5 * 60_000;

export class Revocations {
  constructor(private readonly options: RevocationsOptions) {}

  /** Gives one lease back. Throws `not_found` for what is not the asker's, or not here. */
  async endLease(assertion: string): Promise<EndOutcome> {
    const { pool, askers, ender, claimMs, answerMs, logger } = this.options;
    const { organization, onlyAgent, act } = await askers.identify(assertion, 'end_lease');
    const start = await startEnd(pool, {
      organization,
      leaseId: act.lease_id,
      onlyAgent,
      reason: act.reason,
      causeTraceparent: currentTraceparent(),
      claimMs,
      fenceUnknown: mayBeUnderWay(act.lease_id, Date.now()),
    });
    failpoint('revocation.end-asked.committed');
    if (start.outcome === 'not_found') throw notFound();
    if (start.outcome !== 'claimed') return { lease_id: act.lease_id, outcome: start.outcome };
    const { lease } = start;
    const end = ender.endNow(lease).catch((error: unknown) => {
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

  /** Ends all leases of a subject; those of the asker's organization only. */
  async revoke(assertion: string): Promise<OutputOf<typeof bus.revocation.revoke>> {
    const asker = await this.options.askers.identify(assertion, 'revoke', 'end_session');
    const { organization, act } = asker;
    const causeTraceparent = currentTraceparent();
    if (act.action === 'end_session') {
      if (act.session_id !== asker.sessionId && !asker.isAdministrator) {
        throw new MayflyError('policy_denied', 'Only an administrator may end the session of another.');
      }
      const subject = { kind: 'session', id: act.session_id } as const;
      return this.#end({ organization, subject, forEver: true, reason: 'session_ended', causeTraceparent });
    }
    if (!asker.isAdministrator) {
      throw new MayflyError('policy_denied', 'Revoking takes an administrator.');
    }
    const { subject, reason } = act;
    if (!canExist(subject, organization)) return { matched: 0, leases: [] };
    return this.#end({ organization, subject, forEver: subject.kind === 'lease', reason, causeTraceparent });
  }

  /** The same for sessions that policy has closed. Safe to repeat. */
  async sessionsClosed(deliveries: readonly Pick<Delivery, 'event' | 'reject'>[]): Promise<void> {
    for (const { event, reject } of deliveries) {
      const { organization, session_id } = event.data;
      if (organization === undefined || session_id === undefined) {
        reject('the event lacks organization or session_id');
        continue;
      }
      await startRevocation(this.options.pool, {
        organization,
        subject: { kind: 'session', id: session_id },
        forEver: true,
        reason: 'session_ended',
        causeTraceparent: event.traceparent ?? currentTraceparent(),
      });
      this.options.due.nudge();
    }
  }

  async #end(
    revocation: Parameters<typeof startRevocation>[1],
  ): Promise<OutputOf<typeof bus.revocation.revoke>> {
    const { matched, leases } = await startRevocation(this.options.pool, revocation);
    if (matched === 0) return { matched, leases: [] };
    this.options.due.nudge();
    const ended = await this.#waitForEnds(leases);
    return { matched, leases: leases.map((lease) => endOutcome(lease, ended.get(lease.leaseId))) };
  }

  /** Which of them ended while the asker waits; any replica may be the one that ends them. */
  async #waitForEnds(leases: readonly MatchedLease[]): Promise<Map<string, Date>> {
    const deadline = performance.now() + this.options.answerMs;
    const ended = new Map<string, Date>();
    let open = leases.filter((lease) => lease.revocability.kind !== 'expiry_only');
    for (let pauseMs = firstLookMs; open.length > 0 && performance.now() < deadline;) {
      await sleep(pauseMs);
      pauseMs = Math.min(2 * pauseMs, longestLookMs);
      const found = await endedAmong(
        this.options.pool,
        open.map((lease) => lease.leaseId),
      );
      for (const [leaseId, at] of found) ended.set(leaseId, at);
      open = open.filter((lease) => !ended.has(lease.leaseId));
    }
    return ended;
  }
}

/** Nothing of another organization can be named, nor a lease or session by what is no id. */
function canExist(subject: { kind: string; id: string }, organization: string): boolean {
  if (subject.kind === 'organization') return subject.id === organization;
  if (subject.kind === 'lease' || subject.kind === 'session') return Uuid.safeParse(subject.id).success;
  return true;
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
