/**
 * One mint, as the gateway sees it: decide, issue, hand over. The gateway never holds a secret that a session sealed to a
 * key of its own; for the others it opens the answer with a key that exists for this one request.
 */
import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import {
  bus,
  errorTable,
  JsonObject,
  MayflyError,
  type http,
  type InputOf,
  type IssuedLease,
  type OutputOf,
} from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import { generateSealingKeyPair, type SealingKeyPair } from '@mayfly/tokens';
import type { Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';

type LeaseRequest = InputOf<typeof http.leases.createLease>;
/** What policy has allowed: a lease, or one that takes the place of another. */
export type Allowed = Pick<
  Extract<OutputOf<typeof bus.policy.decide>, { decision: 'allow' }>,
  'lease_id' | 'grant' | 'recipient' | 'ttl_adjusted' | 'give_back'
>;

@Injectable()
export class IssueLease {
  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
    private readonly logger: Logger,
  ) {}

  /**
   * @param isGone whether the client has gone; then the lease is ended as `undelivered`.
   * @throws MayflyError with the code of the refusal.
   */
  async execute(
    caller: Caller,
    request: LeaseRequest,
    idempotencyKey: string | undefined,
    isGone: () => boolean,
  ): Promise<IssuedLease & { giveBack: () => void }> {
    const replyKey = await generateSealingKeyPair();
    const { task, ...asked } = request;
    const decision = await this.gate.decide(caller, {
      ...asked,
      ...(task === undefined ? {} : { claimed_task: task }),
      ...(idempotencyKey === undefined
        ? {}
        : { idempotency: { key: idempotencyKey, body_sha256: digest(request) } }),
      reply_key: replyKey.publicJwk,
    });
    if (decision.decision === 'deny') throw new MayflyError(decision.code, decision.reason);
    if (decision.decision === 'pending')
      throw new MayflyError(
        'policy_denied',
        'this credential needs approval, which can not be asked for yet',
      );
    if (decision.supersedes !== undefined) await this.#endSuperseded(decision.supersedes.assertion);
    return this.mint(decision, replyKey, isGone);
  }

  /** Mints what policy has allowed and hands it over; `giveBack` ends what was not delivered after all. */
  async mint(
    decision: Allowed,
    replyKey: SealingKeyPair,
    isGone: () => boolean,
  ): Promise<IssuedLease & { giveBack: () => void }> {
    const { sealed, ...lease } = await this.#issue(decision);
    failpoint('gateway.reply.before');
    const giveBack = () => this.#endUndelivered(decision);
    try {
      if (isGone()) throw new MayflyError('lease_ended', 'the client was gone before the answer');
      const secret =
        decision.recipient === 'session' ? { sealed } : { secret: await openSecret(replyKey, sealed) };
      const adjusted = decision.ttl_adjusted === undefined ? {} : { ttl_adjusted: decision.ttl_adjusted };
      return { ...lease, status: 'active', ...adjusted, ...secret, giveBack };
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  async #issue(decision: Allowed): Promise<OutputOf<typeof bus.minting.issue>> {
    try {
      return await this.client.call(bus.minting.issue, { grant: decision.grant });
    } catch (error) {
      // No answer is not a no: the lease may have become active, and nobody would ever hold its secret.
      if (!(error instanceof MayflyError) || error.code === 'dependency_unavailable')
        this.#endUndelivered(decision);
      if (!(error instanceof MayflyError) || errorTable[error.code].retryable) this.#release(decision);
      throw error;
    }
  }

  /**
   * Whatever came of it, nobody holds its secret: its place within the limits is for the next attempt. Not waited for; a mint
   * that has begun tells by itself when it is over.
   */
  #release({ lease_id, grant }: Allowed): void {
    this.client.call(bus.policy.releaseReservation, { grant }).catch((error: unknown) => {
      this.logger.warn({ err: error, lease_id }, 'a place within the limits is held until its time is over');
    });
  }

  /** Before the new mint, so that the two never live side by side. A first lease that was never registered is no obstacle. */
  async #endSuperseded(assertion: string): Promise<void> {
    try {
      await this.client.call(bus.revocation.endLease, { assertion });
    } catch (error) {
      if (!(error instanceof MayflyError) || error.code !== 'not_found') throw error;
    }
  }

  /** Ends a lease whose secret nobody got. Not waited for; what fails here ends at its TTL. */
  #endUndelivered({ lease_id, give_back }: Allowed): void {
    this.client.call(bus.revocation.endLease, { assertion: give_back }).catch((error: unknown) => {
      if (error instanceof MayflyError && error.code === 'not_found') return;
      this.logger.warn(
        { err: error, lease_id },
        'an undelivered lease could not be ended now; it ends at its TTL',
      );
    });
  }
}

async function openSecret(key: SealingKeyPair, sealed: string): Promise<JsonObject> {
  return JsonObject.parse(JSON.parse(await key.open(sealed)));
}

/** Requests with equal fields are the same request, in whatever order they were written. */
function digest(request: LeaseRequest): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(request)))
    .digest('hex');
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, child]) => [key, sorted(child)]),
  );
}
