/** Signs the orders to list what Mayfly has made at each configured integration. */
import type { bus, InputOf, OutputOf, SweepClaims } from '@mayfly/contracts';
import { leaseMark } from '@mayfly/domain';
import type { TokenSigner } from '@mayfly/tokens';
import { v7 as uuidv7 } from 'uuid';
import type { RunningConfiguration } from './running-configuration.ts';

export interface OrderSweepsParts {
  readonly running: RunningConfiguration;
  readonly orders: TokenSigner<SweepClaims>;
  /** UUID of this installation of Mayfly. */
  readonly installation: string;
}

const pageSize = 50;

export class OrderSweeps {
  constructor(private readonly parts: OrderSweepsParts) {}

  /** In the order of organizations and integrations. Throws `dependency_unavailable` while no configuration can be used. */
  async run({
    after = '',
  }: InputOf<typeof bus.policy.orderSweeps>): Promise<OutputOf<typeof bus.policy.orderSweeps>> {
    const { running, orders, installation } = this.parts;
    const { configuration, version } = running.current();
    const following = [...configuration.integrations]
      .map((integration) => ({ integration, place: `${integration.organization}/${integration.name}` }))
      .filter(({ place }) => place > after)
      .sort((a, b) => (a.place < b.place ? -1 : 1));
    const page = following.slice(0, pageSize);
    const now = new Date();
    const sweeps = await Promise.all(
      page.map(async ({ integration: { organization, name, provider, settings } }) => {
        const mark = leaseMark(installation, organization, name);
        const prefixes = configuration.organizations.get(organization)?.secretReferences ?? [];
        const order = await orders.sign(
          {
            jti: uuidv7(),
            organization,
            provider,
            integration: { name, settings, secret_references: [...prefixes] },
            mark,
          },
          { now },
        );
        return { organization, integration: name, provider, mark, order };
      }),
    );
    const last = following.length > pageSize ? page.at(-1) : undefined;
    return { config_version: version, sweeps, ...(last !== undefined && { next: last.place }) };
  }
}
