/** What audit answers over the bus. */
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { ReadLog } from './read-log.ts';

const { leaseTimeline, queryEvents } = bus.audit;

@Controller()
export class QueriesHandler {
  constructor(private readonly readLog: ReadLog) {}

  @Handles(queryEvents)
  events(
    @Payload() { assertion, ...filters }: InputOf<typeof queryEvents>,
  ): Promise<OutputOf<typeof queryEvents>> {
    return this.readLog.events(assertion, filters);
  }

  @Handles(leaseTimeline)
  timeline(
    @Payload() { assertion, lease_id }: InputOf<typeof leaseTimeline>,
  ): Promise<OutputOf<typeof leaseTimeline>> {
    return this.readLog.timeline(assertion, lease_id);
  }
}
