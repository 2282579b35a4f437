/** Renewals that policy has allowed, as the gateway passes them on. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Renewals } from './renewals.ts';

@Controller()
export class RenewalsHandler {
  constructor(private readonly renewals: Renewals) {}

  @Handles(bus.revocation.renewLease)
  renew(@Payload() { grant }: InputOf<typeof bus.revocation.renewLease>) {
    return this.renewals.renew(grant);
  }
}
