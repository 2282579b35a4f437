/** Ends that the gateway passes on, and sessions that policy has closed. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Consumes, Handles, type Delivery } from '@mayfly/messaging';
import { Revocations } from './revocations.ts';

@Controller()
export class EndsHandler {
  constructor(private readonly revocations: Revocations) {}

  @Handles(bus.revocation.endLease)
  endLease(@Payload() { assertion }: InputOf<typeof bus.revocation.endLease>) {
    return this.revocations.endLease(assertion);
  }

  @Handles(bus.revocation.revoke)
  revoke(@Payload() { assertion }: InputOf<typeof bus.revocation.revoke>) {
    return this.revocations.revoke(assertion);
  }

  @Consumes('revocation-sessions')
  sessionsClosed(@Payload() deliveries: Delivery[]): Promise<void> {
    return this.revocations.sessionsClosed(deliveries);
  }
}
