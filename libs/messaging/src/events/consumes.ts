/** Binds a controller's method to a durable consumer. */
import { applyDecorators, UseFilters } from '@nestjs/common';
import { EventPattern } from '@nestjs/microservices';
import { PassErrorsOn } from '../rpc/handles.ts';
import type { ConsumerName } from '../topology.ts';

/** Keeps these handlers away from every transport but `JetStreamServer`. */
export const jetStreamTransport = Symbol('mayfly:jetstream');

/** What `@Consumes` leaves for `JetStreamServer` in Nest's pattern extras. */
export interface ConsumesExtras {
  consumer?: ConsumerName;
}

/**
 * The method gets the consumer's messages in batches (`Delivery[]`, oldest first). When it resolves they are acknowledged, all
 * but those it rejected; when it throws they come again. It must be safe to repeat: delivery is at least once.
 */
export function Consumes(consumer: ConsumerName): MethodDecorator {
  const extras: ConsumesExtras = { consumer };
  return applyDecorators(
    EventPattern(consumer, jetStreamTransport, extras as Record<string, unknown>) as MethodDecorator,
    UseFilters(PassErrorsOn),
  );
}
