/** Bus edge of ending at providers. */
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { EndAtProvider } from './end-at-provider.ts';

type Revoke = typeof bus.minting.revokeAtProvider;
type Reconcile = typeof bus.minting.reconcileAtProvider;

@Controller()
export class EndHandler {
  constructor(private readonly endAtProvider: EndAtProvider) {}

  @Handles(bus.minting.revokeAtProvider)
  revoke(@Payload() input: InputOf<Revoke>): Promise<OutputOf<Revoke>> {
    return this.endAtProvider.revoke(input);
  }

  @Handles(bus.minting.cleanUpAtProvider)
  cleanUp(
    @Payload() input: InputOf<typeof bus.minting.cleanUpAtProvider>,
  ): Promise<OutputOf<typeof bus.minting.cleanUpAtProvider>> {
    return this.endAtProvider.cleanUp(input);
  }

  @Handles(bus.minting.inspectAtProvider)
  inspect(
    @Payload() input: InputOf<typeof bus.minting.inspectAtProvider>,
  ): Promise<OutputOf<typeof bus.minting.inspectAtProvider>> {
    return this.endAtProvider.inspect(input);
  }

  @Handles(bus.minting.listAtProvider)
  list(
    @Payload() input: InputOf<typeof bus.minting.listAtProvider>,
  ): Promise<OutputOf<typeof bus.minting.listAtProvider>> {
    return this.endAtProvider.list(input);
  }

  @Handles(bus.minting.reconcileAtProvider)
  reconcile(@Payload() input: InputOf<Reconcile>): Promise<OutputOf<Reconcile>> {
    return this.endAtProvider.reconcile(input.order);
  }
}
