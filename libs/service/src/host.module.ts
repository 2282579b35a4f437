/** What every part of a service may have injected: the bus, the logger, metrics, key files, readiness. */
import { Module, type DynamicModule } from '@nestjs/common';
import { BusClient, EventPublisher } from '@mayfly/messaging';
import { HealthController } from './health.controller.ts';
import { Readiness } from './readiness.ts';
import type { ServiceHost } from './service-host.ts';
import { KEY_FILES, LOGGER, METRICS, NATS_CONNECTION } from './tokens.ts';

@Module({})
export class HostModule {
  static register(host: ServiceHost, readiness: Readiness): DynamicModule {
    const providers = [
      { provide: BusClient, useValue: host.client },
      { provide: EventPublisher, useValue: host.publisher },
      { provide: Readiness, useValue: readiness },
      { provide: LOGGER, useValue: host.logger },
      { provide: METRICS, useValue: host.metrics },
      { provide: NATS_CONNECTION, useValue: host.connection },
      { provide: KEY_FILES, useValue: host.keys },
    ];
    return {
      module: HostModule,
      global: true,
      controllers: [HealthController],
      providers,
      exports: providers,
    };
  }
}
