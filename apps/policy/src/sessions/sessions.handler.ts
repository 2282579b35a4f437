/** Opening and ending sessions, over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { ExchangeToken } from '../trust/exchange-token.ts';
import { AdministerSessions } from './administer-sessions.ts';
import { EndSession } from './end-session.ts';
import { SessionGate } from './session-gate.ts';

@Controller()
export class SessionsHandler {
  constructor(
    private readonly exchange: ExchangeToken,
    private readonly end: EndSession,
    private readonly gate: SessionGate,
    private readonly administering: AdministerSessions,
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

  /** Reading the token is what counts; it throws `unauthenticated` for a session that has ended. */
  @Handles(bus.policy.heartbeat)
  async heartbeat(
    @Payload() { token }: InputOf<typeof bus.policy.heartbeat>,
  ): Promise<OutputOf<typeof bus.policy.heartbeat>> {
    await this.gate.liveSession(token);
    return {};
  }

  @Handles(bus.policy.listSessions)
  listSessions(
    @Payload() input: InputOf<typeof bus.policy.listSessions>,
  ): Promise<OutputOf<typeof bus.policy.listSessions>> {
    return this.administering.list(input);
  }

  @Handles(bus.policy.closeSession)
  closeSession(
    @Payload() input: InputOf<typeof bus.policy.closeSession>,
  ): Promise<OutputOf<typeof bus.policy.closeSession>> {
    return this.administering.close(input);
  }
}
