/** Blocks, over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Blocks } from './blocks.ts';

@Controller()
export class BlocksHandler {
  constructor(private readonly blocks: Blocks) {}

  @Handles(bus.policy.addBlock)
  add(@Payload() input: InputOf<typeof bus.policy.addBlock>): Promise<OutputOf<typeof bus.policy.addBlock>> {
    return this.blocks.add(input);
  }

  @Handles(bus.policy.removeBlock)
  remove(
    @Payload() input: InputOf<typeof bus.policy.removeBlock>,
  ): Promise<OutputOf<typeof bus.policy.removeBlock>> {
    return this.blocks.remove(input);
  }

  @Handles(bus.policy.listBlocks)
  list(
    @Payload() input: InputOf<typeof bus.policy.listBlocks>,
  ): Promise<OutputOf<typeof bus.policy.listBlocks>> {
    return this.blocks.list(input);
  }
}
