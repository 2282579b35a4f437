/** Metrics of what minting finds at upstreams. */
import { Gauge, type Registry } from 'prom-client';
import { collecting, type Collect } from './leases.ts';

/** Why a table is left out: the integration's privileged role may not pass it on, or another session has locked it. */
export type UngrantedCause = 'no_grant_option' | 'locked';

export type UngrantedLabel = 'organization' | 'integration' | 'cause';

/**
 * `mayfly_postgres_ungranted_tables{organization,integration,cause}`: tables and sequences of whole schemas that leases do without, at the
 * last looks at the group roles of an integration; the most of any of its scopes. No series where nothing is left out.
 */
export function ungrantedTables(
  registry: Registry,
  collect?: Collect<UngrantedLabel>,
): Gauge<UngrantedLabel> {
  return new Gauge({
    name: 'mayfly_postgres_ungranted_tables',
    help: 'Tables and sequences of whole schemas that leases do without',
    labelNames: ['organization', 'integration', 'cause'],
    registers: [registry],
    ...collecting(collect),
  });
}
