/** Decides on a request for a credential and, when it is allowed, reserves and signs the grant. */
import {
  MayflyError,
  type AssertionClaims,
  type bus,
  type GrantClaims,
  type InputOf,
  type OutputOf,
} from '@mayfly/contracts';
import { failpoint } from '@mayfly/service';
import type { TokenSigner } from '@mayfly/tokens';
import type { Pool } from 'pg';
import { signAssertion } from '../authorization/sign-assertion.ts';
import type { RunningConfiguration, RunningVersion } from '../configuration/running-configuration.ts';
import type { SignalReporter } from '../reporting/events.ts';
import { sessionEnded, type SessionGate } from '../sessions/session-gate.ts';
import type { Session } from '../sessions/session.ts';
import { reserveLease, type GrantedTerms, type ReservationOutcome } from '../store/reservations.ts';
import { decideRequest, deny, type CredentialRequest, type Decision, type Denial } from './decide-request.ts';
import { blockedDenial } from './blocked.ts';
import { cleanUpLimitFor, tooManyFailingCleanUps } from './clean-up-limit.ts';
import { grantClaims } from './grant-claims.ts';
import { newLeaseId } from './lease-id.ts';
import { byNewestConfiguration, outdated, type Outdated } from './newest-configuration.ts';
import { refuse } from './refuse.ts';

type Input = InputOf<typeof bus.policy.decide>;
type Output = OutputOf<typeof bus.policy.decide>;
type Allowed = Extract<Decision, { decision: 'allow' }>;
type Reserved = Extract<ReservationOutcome, { outcome: 'reserved' }>;

export interface DecideParts {
  readonly gate: SessionGate;
  readonly running: RunningConfiguration;
  readonly grants: TokenSigner<GrantClaims>;
  readonly assertions: TokenSigner<AssertionClaims>;
  readonly signals: SignalReporter;
  readonly pool: Pool;
  /** UUID of this installation of Mayfly. */
  readonly installation: string;
  /** How long a grant may be redeemed, in seconds. */
  readonly grantSeconds: number;
  /** How long a reservation outlives its grant when nothing is heard of the lease, in seconds. */
  readonly holdSeconds: number;
  /** At this many failing clean-ups of its leases at an integration an orchestration gets no more there. */
  readonly mostFailingCleanUps: number;
}

export class Decide {
  constructor(private readonly parts: DecideParts) {}

  /**
   * An allowed request costs one round trip to Postgres: session, configuration, limits and reservation in one call. Throws
   * `unauthenticated`, `dependency_unavailable`, and `conflict` for an Idempotency-Key that is in use.
   */
  async run(input: Input): Promise<Output> {
    const session = await this.parts.gate.readToken(input.token);
    return byNewestConfiguration(this.parts.running, (running) => this.#decide(input, session, running));
  }

  async #decide(input: Input, session: Session, running: RunningVersion): Promise<Output | Outdated> {
    const request = requestOf(input);
    const decision = decideRequest(request, session, running, new Date());
    if (decision.decision === 'deny') {
      // A session that has ended is told nothing but that.
      await this.parts.gate.stillLive(session);
      return this.#refuse(decision, request, session, running);
    }

    const { credential } = decision;
    const cleanUpLimit = cleanUpLimitFor(decision, session, this.parts.mostFailingCleanUps);
    const leaseId = newLeaseId(this.parts.installation, session.organization, credential.integration.name);
    failpoint('policy.decision.before');
    const reservation = await reserveLease(this.parts.pool, {
      leaseId,
      sessionId: session.id,
      organization: session.organization,
      credential: credential.name,
      configVersion: running.version,
      limits: credential.limits,
      cleanUpLimit,
      grantSeconds: this.parts.grantSeconds,
      holdSeconds: this.parts.holdSeconds,
      ...(input.idempotency === undefined
        ? {}
        : { idempotency: { key: input.idempotency.key, bodySha256: input.idempotency.body_sha256 } }),
      ...(credential.renewal === undefined ? {} : { renewable: termsOf(decision, request) }),
    });
    failpoint('policy.decision.committed');
    switch (reservation.outcome) {
      case 'reserved':
        return this.#grant(leaseId, decision, reservation, input, session, running);
      case 'session_ended':
        throw sessionEnded();
      case 'outdated_configuration':
        return outdated;
      case 'blocked':
        return this.#refuse(
          await blockedDenial(this.parts.pool, decision, session),
          request,
          session,
          running,
        );
      case 'still_running':
        throw new MayflyError('conflict', 'The first request with this Idempotency-Key is still under way.');
      case 'other_body':
        throw new MayflyError('conflict', 'This Idempotency-Key was used for another request.');
      case 'limit_cleanups':
        return this.#refuse(tooManyFailingCleanUps(decision, cleanUpLimit), request, session, running);
      case 'limit_per_session':
      case 'limit_concurrent':
        return this.#refuse(limitReached(decision, reservation.outcome), request, session, running);
    }
  }

  async #grant(
    leaseId: string,
    decision: Allowed,
    reserved: Reserved,
    input: Input,
    session: Session,
    running: RunningVersion,
  ): Promise<Output> {
    const { ttlSeconds, adjusted } = withinSession(decision, reserved);
    const now = reserved.decidedAt;
    const holder = { ...session, expiresAt: reserved.sessionExpiresAt };
    const claims = grantClaims(leaseId, now, decision, ttlSeconds, input, holder, running);
    const endLease = (lease: string, reason: string) =>
      signAssertion(
        this.parts.assertions,
        session,
        { action: 'end_lease', lease_id: lease, reason },
        { now },
      );
    const { supersededLeaseId } = reserved;
    const [grant, giveBack, superseded] = await Promise.all([
      this.parts.grants.sign(claims, { now, ttlSeconds: this.parts.grantSeconds }),
      endLease(leaseId, 'undelivered'),
      supersededLeaseId === undefined ? undefined : endLease(supersededLeaseId, 'superseded'),
    ]);
    return {
      decision: 'allow',
      lease_id: leaseId,
      grant,
      recipient: session.recipientKey === undefined ? 'gateway' : 'session',
      ...(adjusted === undefined
        ? {}
        : { ttl_adjusted: { requested_seconds: adjusted.requestedSeconds, reason: adjusted.reason } }),
      give_back: giveBack,
      ...(supersededLeaseId === undefined || superseded === undefined
        ? {}
        : { supersedes: { lease_id: supersededLeaseId, assertion: superseded } }),
    };
  }

  #refuse(
    denial: Denial,
    request: CredentialRequest,
    session: Session,
    running: RunningVersion,
  ): Promise<Output> {
    return refuse(this.parts.signals, denial, request, session, running);
  }
}

function requestOf(input: Input): CredentialRequest {
  return {
    credential: input.credential,
    ...(input.ttl_seconds === undefined ? {} : { ttlSeconds: input.ttl_seconds }),
    ...(input.scope === undefined ? {} : { scope: input.scope }),
    ...(input.claimed_task === undefined ? {} : { claimedTask: input.claimed_task }),
    ...(input.justification === undefined ? {} : { justification: input.justification }),
    sourceIp: input.source_ip,
  };
}

/** What a renewal will start from. */
function termsOf({ scope, ttlSeconds }: Allowed, request: CredentialRequest): GrantedTerms {
  const { claimedTask, justification } = request;
  return {
    ttlSeconds,
    scope,
    ...(claimedTask === undefined ? {} : { claimedTask }),
    ...(justification === undefined ? {} : { justification }),
  };
}

/** Cuts once more at the session's end, now that Postgres has told the time; its clock decides. */
function withinSession(decision: Allowed, { decidedAt, sessionExpiresAt }: Reserved) {
  const remaining = Math.floor((sessionExpiresAt.getTime() - decidedAt.getTime()) / 1000);
  if (decision.ttlSeconds <= remaining) {
    return { ttlSeconds: decision.ttlSeconds, adjusted: decision.ttlAdjusted };
  }
  const requestedSeconds = decision.ttlAdjusted?.requestedSeconds ?? decision.ttlSeconds;
  return {
    ttlSeconds: Math.max(1, remaining),
    adjusted: { requestedSeconds, reason: 'the session ends before' },
  };
}

function limitReached(decision: Allowed, outcome: 'limit_per_session' | 'limit_concurrent'): Denial {
  const { credential, policyIds } = decision;
  const { perSession, concurrent } = credential.limits;
  return outcome === 'limit_per_session'
    ? deny(
        'limit_exceeded',
        `this session may hold at most ${perSession ?? 0} leases of ${credential.name}`,
        {
          credential,
          policyIds,
        },
      )
    : deny('limit_exceeded', `${credential.name} is held as often as it may be at a time`, {
        credential,
        policyIds,
        why: `at most ${concurrent ?? 0} leases of ${credential.name} at a time`,
      });
}
