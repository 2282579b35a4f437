/** What every part of a service may have injected: the bus, the logger, metrics, key files. */
import { Module, type DynamicModule } from '@nestjs/common';
import { BusClient, EventPublisher } from '@mayfly/messaging';
import type { ServiceHost } from './service-host.ts';
import { KEY_FILES, LOGGER, METRICS, NATS_CONNECTION } from './tokens.ts';

@Module({})
export class HostModule {
  static register(host: ServiceHost): DynamicModule {
    const providers = [
      { provide: BusClient, useValue: host.client },
      { provide: EventPublisher, useValue: host.publisher },
      { provide: LOGGER, useValue: host.logger },
      { provide: METRICS, useValue: host.metrics },
      { provide: NATS_CONNECTION, useValue: host.connection },
      { provide: KEY_FILES, useValue: host.keys },
    ];
    return {
      module: HostModule,
      global: true,
      providers,
      exports: providers,
    };
  }
}
