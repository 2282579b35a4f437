/**
 * Redeems a grant: intent, mint, activation, release, in this order and no other (design: "One mint"). Nothing is minted
 * before the intent is stored; nothing of the secret leaves before the activation has committed; whatever fails after
 * the provider was called is withdrawn.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { bus, MayflyError, type GrantClaims, type OutputOf } from '@mayfly/contracts';
import { remainingMs, type BusClient, type EventPublisher, type PeerBreaker } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { currentTraceparent, describeWork, SpanAttribute, traceIdOf, withSpan } from '@mayfly/telemetry';
import { sealTo, type TokenVerifier } from '@mayfly/tokens';
import { providerDefinitions, type CircuitBreakers } from '@mayfly/domain';
import { sealHandle, type Handles } from '../lease-handle.ts';
import type { Minted } from '../providers/provider.ts';
import { asMayflyError, asProviderFailure, noteFailure } from '../providers/provider-error.ts';
import type { ProviderRunner } from '../providers/provider-runner.ts';
import type { Admission } from '../providers/admission.ts';
import { intendedEvent } from './intent.ts';
import type { Withdrawals } from './withdrawals.ts';

/** Longest that a mint takes altogether when nobody says how long it may, in milliseconds. */
const defaultTimeLeftMs = bus.minting.issue.bus.timeoutMs;

/** What is kept of the caller's time for the withdrawal of a failed mint, in milliseconds. */
const marginMs = 500;

/** How far a grant's clock may be off, in seconds. */
const clockToleranceSeconds = 30;

export interface IssueLeaseOptions {
  readonly grants: Pick<TokenVerifier<GrantClaims>, 'verify'>;
  readonly publisher: Pick<EventPublisher, 'publish'>;
  readonly client: Pick<BusClient, 'call'>;
  readonly handles: Handles;
  readonly runner: Pick<ProviderRunner, 'mint'>;
  readonly admission: Admission;
  /** By integration: one that can't be reached is not asked by every mint. */
  readonly breakers: CircuitBreakers;
  /** While revocation does not answer, nothing is made that it would have to activate. */
  readonly revocation: PeerBreaker;
  readonly withdrawals: Withdrawals;
}

type Issued = OutputOf<typeof bus.minting.issue>;

/** A grant and what belongs to it throughout one mint. */
interface Redemption {
  readonly grant: GrantClaims & { readonly exp: number };
  readonly signedGrant: string;
  readonly traceparent: string;
  /** Tells this redemption from another of the same grant, should the stream have forgotten that there was one. */
  readonly mintId: string;
}

export class IssueLease {
  constructor(private readonly options: IssueLeaseOptions) {}

  /** Throws `MayflyError` with the codes of the operation. */
  async issue(signedGrant: string): Promise<Issued> {
    const grant = await this.options.grants.verify(signedGrant, { now: new Date() });
    const { organization, session_id, agent_id } = grant.actor;
    describeGrant(grant);
    const attributes = {
      [SpanAttribute.leaseId]: grant.jti,
      [SpanAttribute.sessionId]: session_id,
      [SpanAttribute.agentId]: agent_id,
      [SpanAttribute.organization]: organization,
      [SpanAttribute.credential]: grant.credential,
      [SpanAttribute.integration]: grant.integration.name,
      [SpanAttribute.provider]: grant.provider,
    };
    const place = placeOf(grant);
    if (!this.options.breakers.mayTry(place, performance.now())) {
      throw new MayflyError(
        'provider_unavailable',
        'the integration fails; it is tried again in a few seconds',
      );
    }
    return withSpan('lease.issue', { attributes }, () =>
      this.options.admission.run(
        { organization, integration: grant.integration.name },
        timeLeftMs() - marginMs,
        () =>
          this.#redeem({
            grant,
            signedGrant,
            traceparent: currentTraceparent() ?? randomTraceparent(),
            mintId: randomUUID(),
          }),
      ),
    );
  }

  async #redeem(redemption: Redemption): Promise<Issued> {
    const { grant, traceparent } = redemption;
    checkNotExpired(grant);
    this.options.revocation.refuseWhileSilent();
    failpoint('minting.intent.before');
    await this.#recordIntent(grant, traceparent);
    failpoint('minting.intent.after');
    const minted = await this.#mint(redemption);
    try {
      const revocability = revocabilityOf(grant);
      // Before the activation, so that a key that nothing can be sealed to leaves no active lease behind. Both wait here.
      const [handle, sealed] = await Promise.all([
        sealHandle(this.options.handles, grant, minted.handle),
        sealTo(grant.recipient_key, minted.secret.reveal(), { contentType: 'json' }),
      ]);
      failpoint('minting.activation.before');
      const { issued_at, expires_at } = await this.options.revocation.listening(() =>
        this.options.client.call(bus.revocation.activate, {
          grant: redemption.signedGrant,
          handle,
          issuance_traceparent: traceparent,
          revocability,
          fingerprints: [...minted.fingerprints],
          use_keys: minted.useKeys,
          mint_id: redemption.mintId,
          ...nativeExpiry(minted),
        }),
      );
      failpoint('minting.reply.before');
      return {
        lease_id: grant.jti,
        credential: grant.credential,
        provider: grant.provider,
        issued_at,
        expires_at,
        ttl_seconds: grant.ttl_seconds,
        scope: grant.scope,
        revocability,
        renewable: grant.renewal !== undefined,
        ...(grant.renewal !== undefined && { renewal: grant.renewal }),
        trace_id: traceIdOf(traceparent) ?? '',
        sealed,
        ...nativeExpiry(minted),
      };
    } catch (error) {
      // Refused, failed or silent: it may even have been activated. All end the same way.
      const reason = error instanceof MayflyError ? error.code : 'internal';
      await this.#withdraw({ ...redemption, reason, minted, mayBeLeft: true });
      throw error;
    }
  }

  /** The stream remembers the lease id: a grant that comes twice finds its intent there, and nothing else happens. */
  async #recordIntent(grant: GrantClaims, traceparent: string): Promise<void> {
    const { duplicate } = await this.options.publisher.publish(intendedEvent(grant, traceparent), {
      messageId: grant.jti,
    });
    if (duplicate) throw new MayflyError('conflict', 'this grant was redeemed before');
  }

  async #mint(redemption: Redemption): Promise<Minted> {
    const { grant } = redemption;
    const call = {
      leaseId: grant.jti,
      organization: grant.actor.organization,
      provider: grant.provider,
      integration: grant.integration,
      settings: grant.settings,
      bounds: grant.bounds,
      scope: grant.scope,
      ttlSeconds: grant.ttl_seconds,
      grantedAt: new Date(grant.granted_at),
      agentId: grant.actor.agent_id,
      user: grant.actor.user,
      task: grant.actor.task,
      // A one-time key of the gateway is nobody's to prove possession of.
      askerKey: grant.recipient === 'session' ? grant.recipient_key : undefined,
    };
    try {
      const minted = await this.options.runner.mint(call, timeLeftMs() - marginMs, (minted) => {
        void this.options.withdrawals.withdraw({
          ...redemption,
          reason: 'provider_unavailable',
          minted,
          mayBeLeft: true,
        });
      });
      this.options.breakers.succeeded(placeOf(grant));
      return minted;
    } catch (error) {
      const failure = asProviderFailure(error);
      noteFailure(this.options.breakers, placeOf(grant), failure);
      await this.#withdraw({ ...redemption, reason: failure.code, mayBeLeft: failure.effect === 'unknown' });
      throw asMayflyError(failure);
    }
  }

  /** Waits for the withdrawal while the caller does; it goes on in any case. */
  async #withdraw(withdrawal: Parameters<Withdrawals['withdraw']>[0]): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const callerLeaves = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.max(0, timeLeftMs() - marginMs));
    });
    await Promise.race([this.options.withdrawals.withdraw(withdrawal), callerLeaves]);
    clearTimeout(timer);
  }
}

function describeGrant({ jti, actor, credential, integration, provider }: GrantClaims): void {
  const { organization, session_id } = actor;
  describeWork({
    lease_id: jti,
    organization,
    session_id,
    credential,
    integration: integration.name,
    provider,
  });
}

/** The name of an integration is unique within its organization. */
function placeOf({ actor, integration }: GrantClaims): string {
  return `${actor.organization}/${integration.name}`;
}

function timeLeftMs(): number {
  return Math.min(remainingMs(), defaultTimeLeftMs);
}

/** It was valid when it came; it may have waited for its turn, or the process was paused. */
function checkNotExpired({ exp }: { readonly exp: number }): void {
  if (Date.now() / 1000 > exp + clockToleranceSeconds) {
    throw new MayflyError('unauthenticated', 'The token is expired.');
  }
}

function revocabilityOf(grant: GrantClaims): Issued['revocability'] {
  const definition = providerDefinitions.get(grant.provider);
  // The provider has just minted, so it is known and its settings have been parsed.
  if (definition === undefined) throw new MayflyError('internal', 'internal error');
  return definition.revocability({ integration: grant.integration.settings, credential: grant.settings });
}

function nativeExpiry({ nativeExpiresAt }: Minted): { native_expires_at?: string } {
  return nativeExpiresAt === undefined ? {} : { native_expires_at: nativeExpiresAt.toISOString() };
}

/** Where nothing is traced, a lease still has a trace id of its own. */
function randomTraceparent(): string {
  return `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
