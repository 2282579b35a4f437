/** Ends that the gateway passes on, and sessions that policy has closed. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Consumes, Handles, type Delivery } from '@mayfly/messaging';
import { AskedEnds } from './asked-ends.ts';

@Controller()
export class EndsHandler {
  constructor(private readonly ends: AskedEnds) {}

  @Handles(bus.revocation.endLease)
  endLease(@Payload() { assertion }: InputOf<typeof bus.revocation.endLease>) {
    return this.ends.endLease(assertion);
  }

  @Handles(bus.revocation.endSession)
  endSession(@Payload() { assertion }: InputOf<typeof bus.revocation.endSession>) {
    return this.ends.endSession(assertion);
  }

  @Consumes('revocation-sessions')
  sessionsClosed(@Payload() deliveries: Delivery[]): Promise<void> {
    return this.ends.sessionsClosed(deliveries);
  }
}
