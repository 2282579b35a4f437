/** Revocations, as the gateway passes them on. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Revocations } from './revocations.ts';

@Controller()
export class RevocationsHandler {
  constructor(private readonly revocations: Revocations) {}

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
}
