/** Opening and ending sessions, over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { ExchangeToken } from '../trust/exchange-token.ts';
import { EndSession } from './end-session.ts';

@Controller()
export class SessionsHandler {
  constructor(
    private readonly exchange: ExchangeToken,
    private readonly end: EndSession,
  ) {}

  @Handles(bus.policy.exchangeToken)
  exchangeToken(
    @Payload() input: InputOf<typeof bus.policy.exchangeToken>,
  ): Promise<OutputOf<typeof bus.policy.exchangeToken>> {
    return this.exchange.run(input);
  }

  @Handles(bus.policy.endSession)
  endSession(
    @Payload() input: InputOf<typeof bus.policy.endSession>,
  ): Promise<OutputOf<typeof bus.policy.endSession>> {
    return this.end.run(input);
  }
}
