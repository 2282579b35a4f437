/**
 * One renewal, as the gateway sees it: decide, and have the lease prolonged, or a successor minted as any lease is. In place no
 * secret comes near it.
 */
import { Injectable } from '@nestjs/common';
import { bus, MayflyError, type http, type InputOf, type RenewedLease } from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import { failpoint } from '@mayfly/service';
import { generateSealingKeyPair } from '@mayfly/tokens';
import type { Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';
import { IssueLease } from './issue-lease.ts';

/** `giveBack` is there for a successor, and ends it when its secret was not delivered after all. */
export type Renewed = RenewedLease & { readonly giveBack?: () => void };

@Injectable()
export class RenewLease {
  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
    private readonly issueLease: IssueLease,
  ) {}

  /**
   * @param isGone whether the client has gone; then a successor is ended as `undelivered`.
   * @throws MayflyError with the code of the refusal.
   */
  async execute(
    caller: Caller,
    request: InputOf<typeof http.leases.renewLease>,
    isGone: () => boolean,
  ): Promise<Renewed> {
    const replyKey = await generateSealingKeyPair();
    const decision = await this.gate.decideRenewal(caller, { ...request, reply_key: replyKey.publicJwk });
    switch (decision.decision) {
      case 'deny':
        throw new MayflyError(decision.code, decision.reason);
      case 'rotate': {
        const successor = await this.issueLease.mint(caller, decision, replyKey, isGone);
        return { ...successor, renewals: decision.renewals, predecessor_id: request.lease_id };
      }
      case 'extend': {
        const lease = await this.client.call(bus.revocation.renewLease, { grant: decision.grant });
        failpoint('gateway.renewal.before');
        const adjusted = decision.ttl_adjusted === undefined ? {} : { ttl_adjusted: decision.ttl_adjusted };
        return { ...lease, status: 'active', renewable: true, ...adjusted };
      }
    }
  }
}
