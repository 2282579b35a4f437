/** Follows what becomes of granted leases, so that limits count what is really there. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { Consumes, type Delivery } from '@mayfly/messaging';
import { LeaseRegister } from './lease-register.ts';

@Controller()
export class LeaseEventsHandler {
  constructor(private readonly register: LeaseRegister) {}

  @Consumes('policy-leases')
  async leaseEvents(@Payload() deliveries: Delivery[]): Promise<void> {
    await this.register.record(deliveries.map(({ event }) => event));
  }
}
