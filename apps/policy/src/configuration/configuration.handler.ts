/** The configuration document, and orders that follow from earlier versions of it, over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { ApplyConfig } from './apply-config.ts';
import { GetConfig } from './get-config.ts';
import { ListConfigVersions } from './list-config-versions.ts';
import { OrderReconciliation } from './order-reconciliation.ts';
import { OrderSweeps } from './order-sweeps.ts';

@Controller()
export class ConfigurationHandler {
  constructor(
    private readonly applying: ApplyConfig,
    private readonly reading: GetConfig,
    private readonly history: ListConfigVersions,
    private readonly reconciliation: OrderReconciliation,
    private readonly sweeps: OrderSweeps,
  ) {}

  @Handles(bus.policy.applyConfig)
  applyConfig(
    @Payload() input: InputOf<typeof bus.policy.applyConfig>,
  ): Promise<OutputOf<typeof bus.policy.applyConfig>> {
    return this.applying.run(input);
  }

  @Handles(bus.policy.getConfig)
  getConfig(
    @Payload() input: InputOf<typeof bus.policy.getConfig>,
  ): Promise<OutputOf<typeof bus.policy.getConfig>> {
    return this.reading.run(input);
  }

  @Handles(bus.policy.listConfigVersions)
  listConfigVersions(
    @Payload() input: InputOf<typeof bus.policy.listConfigVersions>,
  ): Promise<OutputOf<typeof bus.policy.listConfigVersions>> {
    return this.history.run(input);
  }

  @Handles(bus.policy.orderSweeps)
  orderSweeps(
    @Payload() input: InputOf<typeof bus.policy.orderSweeps>,
  ): Promise<OutputOf<typeof bus.policy.orderSweeps>> {
    return this.sweeps.run(input);
  }

  @Handles(bus.policy.orderReconciliation)
  orderReconciliation(
    @Payload() input: InputOf<typeof bus.policy.orderReconciliation>,
  ): Promise<OutputOf<typeof bus.policy.orderReconciliation>> {
    return this.reconciliation.run(input);
  }
}
