/** Reading leases and reporting uses, as the gateway passes them on, and what policy asks about ends. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Leases } from './leases.ts';

@Controller()
export class LeasesHandler {
  constructor(private readonly leases: Leases) {}

  @Handles(bus.revocation.getLease)
  get(@Payload() { assertion }: InputOf<typeof bus.revocation.getLease>) {
    return this.leases.get(assertion);
  }

  @Handles(bus.revocation.listLeases)
  list(@Payload() input: InputOf<typeof bus.revocation.listLeases>) {
    return this.leases.list(input);
  }

  @Handles(bus.revocation.leaseStatus)
  status(@Payload() input: InputOf<typeof bus.revocation.leaseStatus>) {
    return this.leases.status(input);
  }

  @Handles(bus.revocation.endedLeases)
  ended(@Payload() input: InputOf<typeof bus.revocation.endedLeases>) {
    return this.leases.ended(input);
  }

  @Handles(bus.revocation.pendingCleanUps)
  pendingCleanUps(@Payload() input: InputOf<typeof bus.revocation.pendingCleanUps>) {
    return this.leases.pendingCleanUps(input);
  }

  @Handles(bus.revocation.reportUse)
  reportUse(@Payload() input: InputOf<typeof bus.revocation.reportUse>) {
    return this.leases.reportUse(input);
  }
}
