/** One renewal, as the gateway sees it: decide, and have the lease prolonged. No secret comes near it. */
import { Injectable } from '@nestjs/common';
import { bus, MayflyError, type http, type InputOf, type RenewedLease } from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import type { Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';

@Injectable()
export class RenewLease {
  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
  ) {}

  /** @throws MayflyError with the code of the refusal. */
  async execute(caller: Caller, request: InputOf<typeof http.leases.renewLease>): Promise<RenewedLease> {
    const decision = await this.gate.decideRenewal(caller, request);
    if (decision.decision === 'deny') throw new MayflyError(decision.code, decision.reason);
    const lease = await this.client.call(bus.revocation.renewLease, { grant: decision.grant });
    return {
      ...lease,
      status: 'active',
      renewable: true,
      ...(decision.ttl_adjusted === undefined ? {} : { ttl_adjusted: decision.ttl_adjusted }),
    };
  }
}
