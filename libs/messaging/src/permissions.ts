/** The NATS permissions of every user, derived from the contracts and the topology: least privilege (I9). */
import { busOperations, eventSubject, presenceSubject, serviceNames, subjectOf } from '@mayfly/contracts';
import type { ServiceName } from '@mayfly/contracts';
import { consumers, consumersOf, deadSubject, eventPublishers, streams, streamsOf } from './topology.ts';
import type { ConsumerDefinition } from './topology.ts';

/** One user's allow lists, as a server's configuration takes them; everything else is refused. */
export interface NatsPermissions {
  publish: string[];
  /** An entry `subject queue` allows the subject only in that queue group. */
  subscribe: string[];
  /**
   * `allow_responses`: may answer the reply subject of what it was sent, once. For a request that is its answer, for a stream's
   * message its acknowledgement. There is no standing permission to acknowledge: the server forgets an entry only when it is
   * used or its time is over, and looks through all of them at every message once there are more than 4,096.
   */
  allowResponses: boolean;
}

export function natsPermissions(): Record<ServiceName | 'setup', NatsPermissions> {
  const users: Partial<Record<ServiceName | 'setup', NatsPermissions>> = { setup: setupPermissions() };
  for (const service of serviceNames) users[service] = servicePermissions(service);
  return users as Record<ServiceName | 'setup', NatsPermissions>;
}

function servicePermissions(service: ServiceName): NatsPermissions {
  const answers = busOperations.some((operation) => operation.bus.service === service);
  const called = busOperations.filter((operation) => operation.bus.callers.includes(service));
  const own = consumersOf(service);
  return {
    publish: [
      ...called.map(subjectOf),
      ...new Set(called.map((operation) => presenceSubject(operation.bus.service))),
      ...eventPublishers[service].map(eventSubject),
      ...own.flatMap(([name, { stream }]) => [
        `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`,
        `$JS.API.CONSUMER.INFO.${stream}.${name}`,
      ]),
      ...streamsOf(service).map((stream) => `$JS.API.STREAM.INFO.${stream}`),
      ...(own.length > 0 ? [deadSubject(service)] : []),
    ],
    subscribe: [
      `_INBOX_${service}.>`,
      ...(answers ? [`mayfly.rpc.${service}.> ${service}`, presenceSubject(service)] : []),
    ],
    allowResponses: answers || own.length > 0,
  };
}

/** May create and change the streams and consumers, but neither read, publish nor delete. */
function setupPermissions(): NatsPermissions {
  return {
    publish: [
      ...Object.keys(streams).flatMap((stream) =>
        ['INFO', 'CREATE', 'UPDATE'].map((verb) => `$JS.API.STREAM.${verb}.${stream}`),
      ),
      ...Object.entries<ConsumerDefinition>(consumers).flatMap(([name, { stream, filter }]) => [
        `$JS.API.CONSUMER.INFO.${stream}.${name}`,
        `$JS.API.CONSUMER.CREATE.${stream}.${name}${filter === undefined ? '' : `.${filter}`}`,
      ]),
    ],
    subscribe: ['_INBOX_setup.>'],
    allowResponses: false,
  };
}
