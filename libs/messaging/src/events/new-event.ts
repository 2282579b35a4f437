/** Makes events. */
import { typeOf } from '@mayfly/contracts';
import type { EventData, EventType, MayflyEvent, ServiceName, SignalType } from '@mayfly/contracts';
import { v7 as uuidv7 } from 'uuid';

/** `//mayfly/<service>` (CloudEvents `source`). */
export function sourceOf(service: ServiceName): string {
  return `//mayfly/${service}`;
}

/**
 * A CloudEvents 1.0 event of this service with a new UUIDv7 as its id and now as its time.
 * @param options `subject`: the lease id or what else it is about; `traceparent`: the issuance span, for lease events.
 */
export function newEvent(
  service: ServiceName,
  type: EventType | SignalType,
  data: EventData,
  options: { subject?: string; traceparent?: string; id?: string; time?: Date } = {},
): MayflyEvent {
  return {
    specversion: '1.0',
    id: options.id ?? uuidv7(),
    source: sourceOf(service),
    type: typeOf(type),
    ...(options.subject === undefined ? {} : { subject: options.subject }),
    time: (options.time ?? new Date()).toISOString(),
    datacontenttype: 'application/json',
    ...(options.traceparent === undefined ? {} : { traceparent: options.traceparent }),
    data,
  };
}
