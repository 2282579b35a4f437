/** Decides on the renewal of a lease and signs the permission for it. */
import {
  MayflyError,
  type AssertionClaims,
  type bus,
  type GrantClaims,
  type InputOf,
  type OutputOf,
  type RenewalClaims,
} from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { signAssertion } from '../authorization/sign-assertion.ts';
import type { RunningConfiguration, RunningVersion } from '../configuration/running-configuration.ts';
import type { SignalReporter } from '../reporting/events.ts';
import { sessionEnded, type SessionGate } from '../sessions/session-gate.ts';
import { actorOf, type Session } from '../sessions/session.ts';
import { findRenewableLease, reserveSuccessor, type RenewableLease } from '../store/renewable-leases.ts';
import {
  decideRenewalRequest,
  notRenewable,
  renewalRequest,
  type AllowedRenewal,
} from './decide-renewal-request.ts';
import { blockedRenewal } from './blocked.ts';
import { cleanUpLimitFor, tooManyFailingCleanUps } from './clean-up-limit.ts';
import type { Denial } from './decide-request.ts';
import { grantClaims } from './grant-claims.ts';
import { newLeaseId } from './lease-id.ts';
import { byNewestConfiguration, outdated, type Outdated } from './newest-configuration.ts';
import { refuse } from './refuse.ts';

type Input = InputOf<typeof bus.policy.decideRenewal>;
type Output = OutputOf<typeof bus.policy.decideRenewal>;

export interface RenewParts {
  readonly gate: SessionGate;
  readonly running: RunningConfiguration;
  readonly renewals: TokenSigner<RenewalClaims>;
  readonly grants: TokenSigner<GrantClaims>;
  readonly assertions: TokenSigner<AssertionClaims>;
  /** As of `Decide`. */
  readonly grantSeconds: number;
  readonly holdSeconds: number;
  readonly mostFailingCleanUps: number;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  /** UUID of this installation of Mayfly. */
  readonly installation: string;
}

export class Renew {
  constructor(private readonly parts: RenewParts) {}

  /**
   * One round trip to Postgres. The lease's reservation stands as it is: it counts until the lease has ended. Throws
   * `unauthenticated`, `not_found` for a lease that is not the agent's, `lease_ended`, `conflict`.
   */
  async run(input: Input): Promise<Output> {
    const session = await this.parts.gate.readToken(input.token);
    return byNewestConfiguration(this.parts.running, (running) => this.#decide(input, session, running));
  }

  async #decide(input: Input, session: Session, running: RunningVersion): Promise<Output | Outdated> {
    const { signals, pool } = this.parts;
    failpoint('policy.renewal.before');
    const found = await findRenewableLease(pool, {
      leaseId: input.lease_id,
      sessionId: session.id,
      organization: session.organization,
      configVersion: running.version,
    });
    const asked = {
      ...(input.ttl_seconds === undefined ? {} : { ttlSeconds: input.ttl_seconds }),
      sourceIp: input.source_ip,
    };
    switch (found.outcome) {
      case 'session_ended':
        throw sessionEnded();
      case 'outdated_configuration':
        return outdated;
      case 'not_found':
        throw new MayflyError('not_found', 'No such lease.');
      case 'lease_ended':
        throw new MayflyError('lease_ended', 'The lease has ended.');
      case 'not_renewable': {
        const { reason } = notRenewable(undefined);
        return { decision: 'deny', code: 'policy_denied', reason };
      }
      case 'found':
    }
    const { lease } = found;
    const request = renewalRequest(lease, asked, session, running);
    const decision = decideRenewalRequest(request, lease, session, running, found);
    const refused = (denial: Denial) => refuse(signals, denial, request, session, running, lease.leaseId);
    if (decision.decision === 'deny') return refused(decision);
    if (found.blockId !== undefined) {
      return refused(await blockedRenewal(pool, decision.allowed, session.organization, found.blockId));
    }
    if (decision.renewal.kind === 'rotation') {
      return this.#rotate(decision, lease, input, session, running, found, refused);
    }
    return this.#extend(decision, lease, input, session, running, found);
  }

  /** The successor is minted by the normal path; its grant says whose place it takes. */
  async #rotate(
    { allowed, renewal, granted }: AllowedRenewal,
    lease: RenewableLease,
    input: Input,
    session: Session,
    running: RunningVersion,
    { now, sessionId, sessionExpiresAt }: { now: Date; sessionId: string; sessionExpiresAt: Date },
    refused: (denial: Denial) => Promise<Output>,
  ): Promise<Output | Outdated> {
    // Its secret is sealed to the key of the session that asks, so it is that session's lease.
    if (sessionId !== session.id) {
      throw new MayflyError(
        'conflict',
        'Its renewal is a new secret, which only the session that holds the lease can get.',
      );
    }
    const { grants, assertions, pool, grantSeconds, holdSeconds, installation } = this.parts;
    const cleanUpLimit = cleanUpLimitFor(allowed, session, this.parts.mostFailingCleanUps);
    const leaseId = newLeaseId(installation, session.organization, allowed.credential.integration.name);
    const reserved = await reserveSuccessor(pool, {
      leaseId,
      predecessorId: lease.leaseId,
      organization: session.organization,
      sessionId,
      decidedAt: now,
      grantSeconds,
      holdSeconds,
      cleanUpLimit,
      configVersion: running.version,
    });
    switch (reserved.outcome) {
      case 'outdated_configuration':
        return outdated;
      case 'limit_cleanups':
        return refused(tooManyFailingCleanUps(allowed, cleanUpLimit));
      case 'lease_ended':
        throw new MayflyError('lease_ended', 'The lease has ended.');
      case 'rotated':
        throw new MayflyError(
          'conflict',
          'The lease has a successor, or one is being minted; renew that one.',
        );
      case 'place_lost':
        throw new MayflyError(
          'conflict',
          'Nothing was heard of this lease in time; ask for a new one instead.',
        );
      case 'predecessor_lives':
        throw predecessorLives(reserved.endsAt, renewal.graceSeconds, now);
      case 'reserved':
    }
    failpoint('policy.succession.reserved');
    const renewals = lease.renewals + 1;
    const asked = {
      claimed_task: lease.claimedTask,
      justification: lease.justification,
      source_ip: input.source_ip,
      reply_key: input.reply_key,
    };
    const holder = { ...session, expiresAt: sessionExpiresAt };
    const claims = {
      ...grantClaims(leaseId, now, allowed, granted.ttlSeconds, asked, holder, running),
      predecessor: { lease_id: lease.leaseId, renewals },
    };
    const giveBack = { action: 'end_lease', lease_id: leaseId, reason: 'undelivered' } as const;
    const [grant, give_back] = await Promise.all([
      grants.sign(claims, { now, ttlSeconds: grantSeconds }),
      signAssertion(assertions, session, giveBack, { now }),
    ]);
    return {
      decision: 'rotate',
      lease_id: leaseId,
      grant,
      recipient: claims.recipient,
      give_back,
      renewals,
      ...adjustment(granted),
    };
  }

  async #extend(
    { allowed, renewal, granted }: AllowedRenewal,
    lease: RenewableLease,
    input: Input,
    session: Session,
    running: RunningVersion,
    { now, sessionId }: { now: Date; sessionId: string },
  ): Promise<Output> {
    const { credential, policyIds } = allowed;
    const claims: RenewalClaims = {
      jti: uuidv7(),
      lease_id: lease.leaseId,
      granted_at: now.toISOString(),
      // The lease's own session, which may be another one of the same agent.
      actor: { ...actorOf(session), session_id: sessionId },
      asker: {
        session_id: session.id,
        ...(session.user === undefined ? {} : { user: session.user }),
      },
      source_ip: input.source_ip,
      credential: credential.name,
      provider: credential.provider,
      integration: credential.integration.name,
      ttl_seconds: granted.ttlSeconds,
      expires_at: granted.expiresAt.toISOString(),
      limit: granted.limit,
      max_life_seconds: renewal.maxLifeSeconds,
      max_count: renewal.maxCount,
      policy_ids: policyIds.slice(0, 64),
      config_version: running.version,
    };
    return {
      decision: 'extend',
      grant: await this.parts.renewals.sign(claims, { now }),
      ...adjustment(granted),
    };
  }
}

/**
 * The refusal while the lease that this one took the place of goes on: a chain has two living links at most.
 * @param endsAt When that one ends, where an event has told.
 */
function predecessorLives(endsAt: Date | undefined, graceSeconds: number, now: Date): MayflyError {
  const first = 'The lease that this one took the place of is still alive.';
  const seconds = endsAt === undefined ? graceSeconds : Math.ceil((endsAt.getTime() - now.getTime()) / 1000);
  // Past its end, it is ending, or can't be ended so far.
  const when =
    seconds < 1
      ? 'Renew again as soon as it has ended'
      : `Renew again in ${endsAt === undefined ? 'at most ' : ''}${seconds} seconds, when it has ended`;
  return new MayflyError('conflict', `${first} ${when}, or give that one back first.`);
}

function adjustment({ adjusted }: AllowedRenewal['granted']) {
  return adjusted === undefined
    ? {}
    : { ttl_adjusted: { requested_seconds: adjusted.requestedSeconds, reason: adjusted.reason } };
}
