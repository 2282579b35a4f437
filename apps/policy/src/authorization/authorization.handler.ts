/** Assertions for calls that another service answers, over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Authorize } from './authorize.ts';

@Controller()
export class AuthorizationHandler {
  constructor(private readonly authorization: Authorize) {}

  @Handles(bus.policy.authorize)
  authorize(
    @Payload() input: InputOf<typeof bus.policy.authorize>,
  ): Promise<OutputOf<typeof bus.policy.authorize>> {
    return this.authorization.run(input);
  }
}
