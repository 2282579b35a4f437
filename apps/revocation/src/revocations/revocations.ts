/** Revocations that administrators ask for: durable before the answer, carried out by the gatherer and the ender. */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  MayflyError,
  type bus,
  type InputOf,
  type OutputOf,
  type RevocationSubject,
} from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import { currentTraceparent, type Logger } from '@mayfly/telemetry';
import type { Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import type { Nudgeable } from '../activation/activate.ts';
import type { Asker, Askers } from '../asking/asker.ts';
import {
  findRevocation,
  leasesOfRevocation,
  listRevocations,
  type RevocationProgress,
  type Visibility,
} from '../store/revocation-views.ts';
import {
  acceptRevocation,
  everyOrganization,
  fenceSubject,
  type AcceptedRevocation,
} from '../store/revocations.ts';
import { revocationEvent } from './revocation-event.ts';
import { isDone, leaseView, placeOf, placeText, revocationView } from './views.ts';

export interface RevocationsOptions {
  readonly pool: Pool;
  readonly askers: Askers;
  readonly gatherer: Nudgeable;
  readonly relay: Nudgeable;
  readonly logger: Pick<Logger, 'error'>;
  /** How long an asker is kept waiting for ends that can be immediate. */
  readonly answerMs: number;
}

/** Most leases that the answer to a revocation waits for and lists. */
const fewLeases = 100;

/** Between two looks how far it is: short at first. Milliseconds. */
const firstLookMs = 20;
const longestLookMs = 250;

type Answer = OutputOf<typeof bus.revocation.revoke>;

export class Revocations {
  constructor(private readonly options: RevocationsOptions) {}

  /**
   * Resolves once the revocation is durable and, with few leases, most of them have ended. Throws `policy_denied`. The subject has
   * the form of its kind: the assertion is read by the contract.
   */
  async revoke(assertion: string): Promise<Answer> {
    const { pool, askers, gatherer, relay, logger } = this.options;
    const asker = await askers.identify(assertion, 'revoke');
    const { organization, subject } = namedBy(asker.act.subject, asker);
    const revocation: AcceptedRevocation = {
      revocationId: asker.act.revocation_id ?? uuidv7(),
      organization,
      subject,
      reason: asker.act.reason,
      askedBy: asker.agentId,
      askedOrganization: asker.organization,
      askedSessionId: asker.sessionId,
      askedTraceparent: currentTraceparent(),
      forEver: subject.kind === 'lease',
    };
    await acceptRevocation(pool, revocation, revocationEvent('revocation.requested', revocation));
    failpoint('revocation.revoke.committed');
    gatherer.nudge();
    relay.nudge();
    try {
      return await this.#waitForEnds(revocation);
    } catch (error) {
      // It is durable: an asker who is told otherwise would only ask again.
      logger.error({ err: error, revocation_id: revocation.revocationId }, 'a revocation could not be read');
      return revocationView(justAccepted(revocation));
    }
  }

  /** Stops what was granted up to now for a subject that policy has blocked; what lives goes on. Durable when it resolves. */
  async fence(assertion: string): Promise<Record<string, never>> {
    const asker = await this.options.askers.identify(assertion, 'fence');
    const { organization, subject } = namedBy(asker.act.subject, asker);
    await fenceSubject(this.options.pool, organization, subject, asker.act.reason, false);
    return {};
  }

  /** One revocation with a page of its leases. Throws `not_found`, also for one of another organization. */
  async get(
    input: InputOf<typeof bus.revocation.getRevocation>,
  ): Promise<OutputOf<typeof bus.revocation.getRevocation>> {
    const { pool, askers } = this.options;
    const asker = await askers.identify(input.assertion, 'read_revocation');
    const after = input.after === undefined ? undefined : placeOf(input.leases, input.after);
    const found = await findRevocation(pool, asker.act.revocation_id, visibleTo(asker));
    if (found === undefined) throw new MayflyError('not_found', 'No such revocation.');
    const { leases, next } =
      input.limit === 0
        ? { leases: [], next: undefined }
        : await leasesOfRevocation(pool, found.revocationId, input.leases, after, input.limit);
    return {
      revocation: revocationView(found),
      leases: leases.map((lease) => leaseView(found, lease)),
      ...(next !== undefined && { next: placeText(next) }),
    };
  }

  /** Newest first; `next` is there when there may be more. */
  async list(
    input: InputOf<typeof bus.revocation.listRevocations>,
  ): Promise<OutputOf<typeof bus.revocation.listRevocations>> {
    const { pool, askers } = this.options;
    const asker = await askers.identify(input.assertion, 'list_revocations');
    const found = await listRevocations(pool, visibleTo(asker), input.after, input.limit);
    const last = found.length === input.limit ? found.at(-1) : undefined;
    return {
      revocations: found.map(revocationView),
      ...(last !== undefined && { next: last.revocationId }),
    };
  }

  /** Any replica may be the one that gathers and ends them, so it looks at the register. */
  async #waitForEnds(revocation: AcceptedRevocation): Promise<Answer> {
    const { pool, answerMs } = this.options;
    const deadline = performance.now() + answerMs;
    const visible = { organization: revocation.organization, everything: false, askedBy: undefined };
    for (let pauseMs = firstLookMs; ; pauseMs = Math.min(2 * pauseMs, longestLookMs)) {
      await sleep(pauseMs);
      const found =
        (await findRevocation(pool, revocation.revocationId, visible)) ?? justAccepted(revocation);
      const isLate = performance.now() >= deadline;
      const view = revocationView(found);
      if (found.gatheredAt === undefined) {
        if (isLate) return view;
        continue;
      }
      if (view.matched > fewLeases) return view;
      if (isDone(found) || isLate) {
        const { leases } = await leasesOfRevocation(
          pool,
          revocation.revocationId,
          'all',
          undefined,
          fewLeases,
        );
        return { ...view, leases: leases.map((lease) => leaseView(found, lease)) };
      }
    }
  }
}

/** Whose leases it is about, and the subject in full. What can't be or isn't the asker's to name is refused before anything is written. */
function namedBy(
  subject: RevocationSubject,
  asker: Pick<Asker<'revoke'>, 'organization' | 'isAdministrator' | 'isPlatformAdministrator'>,
): Pick<AcceptedRevocation, 'organization' | 'subject'> {
  if (subject.kind === 'everything') {
    if (!asker.isPlatformAdministrator) {
      throw new MayflyError('policy_denied', 'Revoking everything takes a platform administrator.');
    }
    return { organization: everyOrganization, subject: { kind: 'everything', id: everyOrganization } };
  }
  if (!asker.isAdministrator) throw new MayflyError('policy_denied', 'Revoking takes an administrator.');
  const { organization } = asker;
  const id = subject.id ?? organization;
  // Nothing of another organization can be named.
  if (subject.kind === 'organization' && id !== organization) {
    throw new MayflyError('policy_denied', 'Only the own organization may be revoked.');
  }
  return { organization, subject: { kind: subject.kind, id } };
}

function visibleTo({
  organization,
  agentId,
  isAdministrator,
  isPlatformAdministrator,
}: Pick<
  Asker<never>,
  'organization' | 'agentId' | 'isAdministrator' | 'isPlatformAdministrator'
>): Visibility {
  if (!isAdministrator && !isPlatformAdministrator) {
    throw new MayflyError('policy_denied', 'Seeing revocations takes an administrator.');
  }
  return {
    organization: isAdministrator ? organization : undefined,
    everything: isPlatformAdministrator,
    askedBy: isPlatformAdministrator ? { organization, agentId } : undefined,
  };
}

function justAccepted(revocation: AcceptedRevocation): RevocationProgress {
  const { subject } = revocation;
  return {
    revocationId: revocation.revocationId,
    organization: revocation.organization,
    subject: subject.kind === 'everything' ? { kind: subject.kind } : { kind: subject.kind, id: subject.id },
    reason: revocation.reason,
    askedBy: revocation.askedBy,
    askedAt: new Date(),
    gatheredAt: undefined,
    doneAt: undefined,
    immediate: 0,
    eventual: 0,
    expiryOnly: 0,
    pending: 0,
    failing: 0,
  };
}
