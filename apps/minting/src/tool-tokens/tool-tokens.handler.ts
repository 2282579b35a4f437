/** Bus edge of tool tokens. */
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Controller, Inject } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import type { VerificationKeys } from '@mayfly/tokens';
import { InspectToolToken } from './inspect-tool-token.ts';

/** Injection token of the keys that sign tool tokens. */
export const TOOL_TOKEN_KEYS = Symbol('TOOL_TOKEN_KEYS');

type Keys = typeof bus.minting.toolTokenKeys;
type Verify = typeof bus.minting.verifyToolToken;

@Controller()
export class ToolTokensHandler {
  constructor(
    @Inject(TOOL_TOKEN_KEYS) private readonly keys: VerificationKeys,
    private readonly inspectToolToken: InspectToolToken,
  ) {}

  @Handles(bus.minting.toolTokenKeys)
  async keySet(): Promise<OutputOf<Keys>> {
    const { keys } = await this.keys.publicJwks();
    return { keys: keys.map((key) => ({ ...key })) };
  }

  @Handles(bus.minting.verifyToolToken)
  verify(@Payload() input: InputOf<Verify>): Promise<OutputOf<Verify>> {
    return this.inspectToolToken.inspect(input);
  }
}
