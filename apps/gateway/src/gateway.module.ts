/** Wiring of the gateway: no keys, no database, no state but rate limits. */
import { Module, type DynamicModule } from '@nestjs/common';
import { BusClient } from '@mayfly/messaging';
import type { ServiceHost } from '@mayfly/service';
import type { IssuanceLabel } from '@mayfly/telemetry';
import { AdministrationController } from './administration/administration.controller.ts';
import { Admission } from './admission/admission.ts';
import { IssueLease } from './leases/issue-lease.ts';
import { ISSUANCE_LABELS, LeasesController } from './leases/leases.controller.ts';
import { RenewLease } from './leases/renew-lease.ts';
import { OAuthController, OAuthUrls } from './oauth/oauth.controller.ts';
import { PolicyGate } from './policy-gate.ts';

@Module({})
export class GatewayModule {
  static register(
    host: ServiceHost,
    admission: Admission,
    publicUrl: string,
    issuanceLabels: readonly IssuanceLabel[],
  ): DynamicModule {
    return {
      module: GatewayModule,
      controllers: [LeasesController, OAuthController, AdministrationController],
      providers: [
        { provide: Admission, useValue: admission },
        { provide: ISSUANCE_LABELS, useValue: issuanceLabels },
        { provide: OAuthUrls, useValue: new OAuthUrls(publicUrl, host.keys.public.mintingSealing) },
        {
          provide: PolicyGate,
          useFactory: (client: BusClient) =>
            new PolicyGate(client, admission, host.keys.public.policySealing),
          inject: [BusClient],
        },
        {
          provide: IssueLease,
          useFactory: (gate: PolicyGate, client: BusClient) =>
            new IssueLease(gate, client, admission, host.logger),
          inject: [PolicyGate, BusClient],
        },
        RenewLease,
      ],
    };
  }
}
