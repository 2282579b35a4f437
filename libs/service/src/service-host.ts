/** What a service is given to build its module from. */
import type { NatsConnection } from '@nats-io/transport-node';
import type { ServiceName } from '@mayfly/contracts';
import type { BusClient, EventPublisher } from '@mayfly/messaging';
import type { Logger } from '@mayfly/telemetry';
import type { KeyFiles } from '@mayfly/tokens';
import type { Registry } from 'prom-client';
import type { ReadinessCheck } from './readiness.ts';

export interface ServiceHost {
  readonly service: ServiceName;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly connection: NatsConnection;
  readonly client: BusClient;
  readonly publisher: EventPublisher;
  readonly keys: KeyFiles;
  /** The service is ready only while this answers yes. */
  readonly addReadinessCheck: (name: string, check: ReadinessCheck) => void;
}
