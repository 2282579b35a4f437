/** How a credential's leases may be renewed, in the form of grants and answers. */
import type { CredentialConfig } from '@mayfly/configuration';
import type { Renewal } from '@mayfly/contracts';

/** Empty for a credential that can't be renewed. */
export function renewalOf({ renewal }: CredentialConfig): { renewal?: Renewal } {
  if (renewal === undefined) return {};
  const { kind, maxLifeSeconds, maxCount, graceSeconds } = renewal;
  return {
    renewal: {
      kind,
      max_life_seconds: maxLifeSeconds,
      max_count: maxCount,
      grace_seconds: graceSeconds,
    },
  };
}
