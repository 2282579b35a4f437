/** Decisions on credentials, over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { describeWork, SpanAttribute } from '@mayfly/telemetry';
import { trace } from '@opentelemetry/api';
import { Decide } from './decide.ts';
import { ListCredentials } from './list-credentials.ts';
import { ReleaseReservation } from './release-reservation.ts';
import { Renew } from './renew.ts';

@Controller()
export class DecisionsHandler {
  constructor(
    private readonly decisions: Decide,
    private readonly listing: ListCredentials,
    private readonly releasing: ReleaseReservation,
    private readonly renewals: Renew,
  ) {}

  @Handles(bus.policy.decide)
  async decide(
    @Payload() input: InputOf<typeof bus.policy.decide>,
  ): Promise<OutputOf<typeof bus.policy.decide>> {
    const output = await this.decisions.run(input);
    trace.getActiveSpan()?.setAttribute(SpanAttribute.decision, output.decision);
    if (output.decision === 'allow') describeWork(output);
    return output;
  }

  @Handles(bus.policy.releaseReservation)
  releaseReservation(
    @Payload() input: InputOf<typeof bus.policy.releaseReservation>,
  ): Promise<OutputOf<typeof bus.policy.releaseReservation>> {
    return this.releasing.run(input);
  }

  @Handles(bus.policy.decideRenewal)
  async decideRenewal(
    @Payload() input: InputOf<typeof bus.policy.decideRenewal>,
  ): Promise<OutputOf<typeof bus.policy.decideRenewal>> {
    const output = await this.renewals.run(input);
    const decision = output.decision === 'deny' ? 'deny' : 'allow';
    trace.getActiveSpan()?.setAttribute(SpanAttribute.decision, decision);
    return output;
  }

  @Handles(bus.policy.listCredentials)
  listCredentials(
    @Payload() input: InputOf<typeof bus.policy.listCredentials>,
  ): Promise<OutputOf<typeof bus.policy.listCredentials>> {
    return this.listing.run(input);
  }
}
