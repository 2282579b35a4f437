/** Signs the order to remove what a lease without activation may have left upstream. */
import { MayflyError, type bus, type InputOf, type OutputOf, type ReconcileClaims } from '@mayfly/contracts';
import type { Configuration } from '@mayfly/configuration';
import type { TokenSigner } from '@mayfly/tokens';
import type { RunningConfiguration } from './running-configuration.ts';

export interface OrderReconciliationParts {
  readonly running: RunningConfiguration;
  readonly orders: TokenSigner<ReconcileClaims>;
}

export class OrderReconciliation {
  constructor(private readonly parts: OrderReconciliationParts) {}

  /**
   * By the configuration that the lease was granted under, since a later one may not know it; where that knows no such
   * credential, by the integration of that name as it is now, because a thing is found upstream by its name alone. Throws
   * `not_found`, and will for ever, when there is neither.
   */
  async run(
    input: InputOf<typeof bus.policy.orderReconciliation>,
  ): Promise<OutputOf<typeof bus.policy.orderReconciliation>> {
    const then = await this.parts.running.versionOf(input.config_version);
    const found = find(then, input) ?? find(this.parts.running.current().configuration, input);
    if (found === undefined) {
      throw new MayflyError(
        'not_found',
        'Neither that configuration nor the running one has such an integration.',
      );
    }
    const { integration, organization, settings } = found;
    const claims: ReconcileClaims = {
      jti: input.lease_id,
      organization: input.organization,
      credential: input.credential,
      provider: integration.provider,
      integration: {
        name: integration.name,
        settings: integration.settings,
        secret_references: [...organization.secretReferences],
      },
      settings,
      config_version: input.config_version,
    };
    return { order: await this.parts.orders.sign(claims, { now: new Date() }) };
  }
}

/** The credential's integration, or the integration that it names, with the credential's settings as far as they are known. */
function find(
  configuration: Configuration | undefined,
  { organization: organizationName, credential: name }: InputOf<typeof bus.policy.orderReconciliation>,
) {
  const organization = configuration?.organizations.get(organizationName);
  const credential = configuration?.credential(organizationName, name);
  const integration =
    credential?.integration ?? configuration?.integration(organizationName, name.split('/', 1).join(''));
  if (organization === undefined || integration === undefined) return undefined;
  return { organization, integration, settings: credential?.settings ?? {} };
}
