/** Signs the order to remove what a lease without activation may have left upstream. */
import { MayflyError, type bus, type InputOf, type OutputOf, type ReconcileClaims } from '@mayfly/contracts';
import type { TokenSigner } from '@mayfly/tokens';
import type { RunningConfiguration } from './running-configuration.ts';

export interface OrderReconciliationParts {
  readonly running: RunningConfiguration;
  readonly orders: TokenSigner<ReconcileClaims>;
}

export class OrderReconciliation {
  constructor(private readonly parts: OrderReconciliationParts) {}

  /** By the configuration that the lease was granted under, since a later one may not know it. Throws `not_found`. */
  async run(
    input: InputOf<typeof bus.policy.orderReconciliation>,
  ): Promise<OutputOf<typeof bus.policy.orderReconciliation>> {
    const configuration = await this.parts.running.versionOf(input.config_version);
    const credential = configuration?.credential(input.organization, input.credential);
    const organization = configuration?.organizations.get(input.organization);
    if (credential === undefined || organization === undefined) {
      throw new MayflyError('not_found', 'That configuration version has no such credential.');
    }
    const claims: ReconcileClaims = {
      jti: input.lease_id,
      organization: input.organization,
      credential: credential.name,
      provider: credential.provider,
      integration: {
        name: credential.integration.name,
        settings: credential.integration.settings,
        secret_references: [...organization.secretReferences],
      },
      settings: credential.settings,
      config_version: input.config_version,
    };
    return { order: await this.parts.orders.sign(claims, { now: new Date() }) };
  }
}
