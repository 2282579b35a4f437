/** What minting asks of the register. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Activations } from './activate.ts';

@Controller()
export class ActivationHandler {
  constructor(private readonly activations: Activations) {}

  @Handles(bus.revocation.activate)
  activate(@Payload() input: InputOf<typeof bus.revocation.activate>) {
    return this.activations.activate(input);
  }

  @Handles(bus.revocation.cancelGrant)
  cancelGrant(@Payload() input: InputOf<typeof bus.revocation.cancelGrant>) {
    return this.activations.cancel(input);
  }

  @Handles(bus.revocation.abandon)
  abandon(@Payload() input: InputOf<typeof bus.revocation.abandon>) {
    return this.activations.abandon(input);
  }
}
