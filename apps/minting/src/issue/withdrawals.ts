/**
 * What happens to a mint that is not released: what was made is revoked at the provider, and revocation is told, so that it
 * ends the lease and removes what may be left. Tried a few times here; after that the reconciler finds the intent.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { bus, MayflyError, type GrantClaims } from '@mayfly/contracts';
import { withoutDeadline, type BusClient, type PeerBreaker } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import type { Logger } from '@mayfly/telemetry';
import { sealHandle, type Handles } from '../lease-handle.ts';
import type { Minted } from '../providers/provider.ts';
import type { ProviderRunner } from '../providers/provider-runner.ts';

/** A mint that came to nothing. */
export interface Withdrawal {
  readonly grant: GrantClaims;
  /** As it came, signed by policy. */
  readonly signedGrant: string;
  readonly traceparent: string;
  /** Of this redemption of the grant. */
  readonly mintId: string;
  /** Why, as a code of the error table. */
  readonly reason: string;
  /** What was made; absent when the mint failed. */
  readonly minted?: Minted;
  /** Without `minted`: whether something may be there all the same. */
  readonly mayBeLeft: boolean;
}

export interface WithdrawalsOptions {
  readonly runner: Pick<ProviderRunner, 'revoke'>;
  readonly client: Pick<BusClient, 'call'>;
  /** Told whether it answers, as by mints: the one that was let through to find out may have failed before it was asked. */
  readonly revocation: Pick<PeerBreaker, 'listening'>;
  readonly handles: Handles;
  readonly logger: Pick<Logger, 'warn'>;
  /** Longest pauses between the attempts to tell revocation, in milliseconds; up to half of each is cut off by chance. */
  readonly retryPausesMs?: readonly number[];
}

type Cleanup = { cleanup: 'done' } | { cleanup: 'pending'; handle?: string };

export class Withdrawals {
  readonly #running = new Set<Promise<void>>();

  constructor(private readonly options: WithdrawalsOptions) {}

  /** Never rejects. Resolves when it is done, or given up; the caller need not wait. */
  withdraw(withdrawal: Withdrawal): Promise<void> {
    // Goes on after the reply, so the caller's deadline does not hold.
    const running = withoutDeadline(() => this.#withdraw(withdrawal)).finally(() =>
      this.#running.delete(running),
    );
    this.#running.add(running);
    return running;
  }

  /** Waits for those under way, when the service stops. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#running);
  }

  async #withdraw(withdrawal: Withdrawal): Promise<void> {
    const { signedGrant, traceparent, mintId, reason, grant } = withdrawal;
    const { client, revocation, retryPausesMs = [200, 400, 800, 1_600, 3_000] } = this.options;
    failpoint('minting.withdrawal.before');
    const cleanup = await this.#cleanUp(withdrawal);
    failpoint('minting.withdrawal.after');
    const input = {
      grant: signedGrant,
      issuance_traceparent: traceparent,
      mint_id: mintId,
      reason,
      ...cleanup,
    };
    for (const pauseMs of [0, ...retryPausesMs]) {
      // Keeps a stopping process alive for the seconds that this may take. By chance, because where one mint comes to nothing many
      // do, and all of them at once are more than revocation takes.
      if (pauseMs > 0) await sleep(pauseMs * (1 - Math.random() / 2));
      try {
        await revocation.listening(() => client.call(bus.revocation.abandon, input));
        return;
      } catch (error) {
        this.options.logger.warn(
          { err: error, lease_id: grant.jti },
          'revocation was not told of a failed mint',
        );
        if (error instanceof MayflyError && error.code === 'unauthenticated') return;
      }
    }
  }

  async #cleanUp({ grant, minted, mayBeLeft }: Withdrawal): Promise<Cleanup> {
    if (minted === undefined) return { cleanup: mayBeLeft ? 'pending' : 'done' };
    try {
      const outcome = await this.options.runner.revoke({
        leaseId: grant.jti,
        organization: grant.actor.organization,
        provider: grant.provider,
        integration: grant.integration,
        handle: minted.handle,
      });
      if (outcome !== 'access_ended') return { cleanup: 'done' };
    } catch (error) {
      this.options.logger.warn({ err: error, lease_id: grant.jti }, 'what a failed mint made is still there');
    }
    const handle = await sealHandle(this.options.handles, grant, minted.handle).catch(() => undefined);
    return { cleanup: 'pending', ...(handle !== undefined && { handle }) };
  }
}
