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
import { describeWork, type Logger } from '@mayfly/telemetry';
import { generateSealingKeyPair, type SealingKeyPair } from '@mayfly/tokens';
import type { Admission } from '../admission/admission.ts';
import type { Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';

type LeaseRequest = InputOf<typeof http.leases.createLease>;
/** What policy has allowed: a lease, or one that takes the place of another. */
export type Allowed = Pick<
  Extract<OutputOf<typeof bus.policy.decide>, { decision: 'allow' }>,
  'lease_id' | 'grant' | 'recipient' | 'ttl_adjusted' | 'give_back'
>;

/** Longest that the end of what may live waits for policy to say whether it does. Milliseconds. */
const releaseTimeoutMs = 2_000;
/** Longest pauses between attempts to undo a mint, up to half of each cut off by chance; after them its time is nearly over. */
const undoPausesMs = [1_000, 3_000, 9_000, 27_000];
/** So much is tried again at once; what is beside that is over when its time is. */
const mostUndoneLater = 5_000;

@Injectable()
export class IssueLease {
  #undoingLater = 0;

  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
    private readonly admission: Pick<Admission, 'minting'>,
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
    return this.mint(caller, decision, replyKey, isGone);
  }

  /** Mints what policy has allowed and hands it over; `giveBack` ends what was not delivered after all. */
  async mint(
    caller: Pick<Caller, 'token'>,
    decision: Allowed,
    replyKey: SealingKeyPair,
    isGone: () => boolean,
  ): Promise<IssuedLease & { giveBack: () => void }> {
    describeWork(decision);
    const { sealed, ...lease } = await this.#issue(caller, decision);
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

  async #issue(
    { token }: Pick<Caller, 'token'>,
    decision: Allowed,
  ): Promise<OutputOf<typeof bus.minting.issue>> {
    try {
      return await this.admission.minting(token, () =>
        this.client.call(bus.minting.issue, { grant: decision.grant }),
      );
    } catch (error) {
      void this.#takeBack(decision, error);
      throw error;
    }
  }

  /**
   * Whatever came of it, nobody holds its secret: its place within the limits is for the next attempt, and what has begun ends. Not
   * waited for.
   */
  async #takeBack(decision: Allowed, failure: unknown): Promise<void> {
    const isKnown = failure instanceof MayflyError;
    if (isKnown && !errorTable[failure.code].retryable) return;
    const outcome = await this.#release(decision).catch(() => 'unknown' as const);
    // No answer is not a no: the lease may have become active, or may yet. With any other a mint tells by itself when it is over.
    const mayLive = !isKnown || failure.code === 'dependency_unavailable';
    if (mayLive && outcome !== 'released') this.#endUndelivered(decision);
    if (outcome === 'unknown') await this.#releaseLater(decision);
  }

  /** Nothing else would free a place of which no mint knows. */
  async #releaseLater(decision: Allowed): Promise<void> {
    const told = 'a place within the limits could not be given back yet';
    await this.#undoLater(decision, told, async () => void (await this.#release(decision)));
  }

  /** Tries again after each pause, until it is done: whoever is away is mostly back soon. */
  async #undoLater({ lease_id }: Allowed, told: string, undo: () => Promise<void>): Promise<void> {
    if (this.#undoingLater >= mostUndoneLater) return;
    this.#undoingLater++;
    try {
      for (const pauseMs of undoPausesMs) {
        // By chance, because where one comes to nothing many do.
        await pause(pauseMs * (1 - Math.random() / 2));
        const isDone = await undo().then(
          () => true,
          (error: unknown) => {
            this.logger.warn({ err: error, lease_id }, told);
            return false;
          },
        );
        if (isDone) return;
      }
    } finally {
      this.#undoingLater--;
    }
  }

  async #release({ grant }: Allowed): Promise<'released' | 'begun'> {
    const limit = { timeoutMs: releaseTimeoutMs };
    return (await this.client.call(bus.policy.releaseReservation, { grant }, limit)).outcome;
  }

  /** Before the new mint, so that the two never live side by side. A first lease that was never registered is no obstacle. */
  async #endSuperseded(assertion: string): Promise<void> {
    try {
      await this.client.call(bus.revocation.endLease, { assertion });
    } catch (error) {
      if (!(error instanceof MayflyError) || error.code !== 'not_found') throw error;
    }
  }

  /** Ends a lease whose secret nobody got. Not waited for; what can't be ended now is tried again, and ends at its TTL at last. */
  #endUndelivered(decision: Allowed): void {
    const { lease_id, give_back } = decision;
    const told = 'an undelivered lease could not be ended yet; it ends at its TTL at the latest';
    const end = async () => {
      try {
        await this.client.call(bus.revocation.endLease, { assertion: give_back });
      } catch (error) {
        if (!(error instanceof MayflyError) || error.code !== 'not_found') throw error;
      }
    };
    end().catch((error: unknown) => {
      this.logger.warn({ err: error, lease_id }, told);
      return this.#undoLater(decision, told, end);
    });
  }
}

/** Keeps no process alive. */
function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds).unref());
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
