/** Bus edge of renewing at providers. */
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { RenewAtProvider } from './renew-at-provider.ts';

type Renew = typeof bus.minting.renewAtProvider;

@Controller()
export class RenewHandler {
  constructor(private readonly renewAtProvider: RenewAtProvider) {}

  @Handles(bus.minting.renewAtProvider)
  renew(@Payload() input: InputOf<Renew>): Promise<OutputOf<Renew>> {
    return this.renewAtProvider.renew(input);
  }
}
