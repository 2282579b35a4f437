/** Revocations, as the gateway passes them on and as policy orders them. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Consumes, Handles, type Delivery } from '@mayfly/messaging';
import { Orders } from './orders.ts';
import { Revocations } from './revocations.ts';

@Controller()
export class RevocationsHandler {
  constructor(
    private readonly revocations: Revocations,
    private readonly orders: Orders,
  ) {}

  @Handles(bus.revocation.revoke)
  revoke(@Payload() { assertion }: InputOf<typeof bus.revocation.revoke>) {
    return this.revocations.revoke(assertion);
  }

  @Handles(bus.revocation.fence)
  fence(@Payload() { assertion }: InputOf<typeof bus.revocation.fence>) {
    return this.revocations.fence(assertion);
  }

  @Handles(bus.revocation.getRevocation)
  get(@Payload() input: InputOf<typeof bus.revocation.getRevocation>) {
    return this.revocations.get(input);
  }

  @Handles(bus.revocation.listRevocations)
  list(@Payload() input: InputOf<typeof bus.revocation.listRevocations>) {
    return this.revocations.list(input);
  }

  @Consumes('revocation-blocks')
  blocksAdded(@Payload() deliveries: Delivery[]): Promise<void> {
    return this.orders.carryOut(deliveries);
  }

  @Consumes('revocation-removals')
  configRemoved(@Payload() deliveries: Delivery[]): Promise<void> {
    return this.orders.carryOut(deliveries);
  }
}
