/** What audit takes from the streams: everything. */
import { Controller } from '@nestjs/common';
import { Consumes, type Delivery } from '@mayfly/messaging';
import { WriteEvents } from './write-events.ts';

@Controller()
export class LogHandler {
  constructor(private readonly writeEvents: WriteEvents) {}

  @Consumes('audit-events')
  events(deliveries: Delivery[]): Promise<void> {
    return this.#write(deliveries);
  }

  @Consumes('audit-signals')
  signals(deliveries: Delivery[]): Promise<void> {
    return this.#write(deliveries);
  }

  #write(deliveries: Delivery[]): Promise<void> {
    return this.writeEvents.execute(deliveries.map(({ event }) => event));
  }
}
