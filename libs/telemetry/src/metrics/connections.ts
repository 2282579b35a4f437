/**
 * Metrics of the connections at `postgres` upstreams, owned by minting. They are told where leases live, as far as this replica of
 * minting knows, and go with the last of them.
 */
import { Gauge, type Registry } from 'prom-client';
import { collecting, type Collect } from './leases.ts';

export type UpstreamLabel = 'organization' | 'integration';

const labelNames: readonly UpstreamLabel[] = ['organization', 'integration'];

/**
 * `mayfly_postgres_lease_connections{organization,integration}`: connections that all leases at the server of an integration may
 * take together, by the limits of their roles; those of other integrations and installations at the same server are among them.
 */
export function postgresLeaseConnections(
  registry: Registry,
  collect?: Collect<UpstreamLabel>,
): Gauge<UpstreamLabel> {
  return new Gauge({
    name: 'mayfly_postgres_lease_connections',
    help: 'Connections that the leases at a server may take together',
    labelNames,
    registers: [registry],
    ...collecting(collect),
  });
}

/**
 * `mayfly_postgres_available_connections{organization,integration}`: connections that the server of an integration has for all but
 * superusers and members of `pg_use_reserved_connections`, whether they are in use or not.
 */
export function postgresAvailableConnections(
  registry: Registry,
  collect?: Collect<UpstreamLabel>,
): Gauge<UpstreamLabel> {
  return new Gauge({
    name: 'mayfly_postgres_available_connections',
    help: 'Connections that a server has for those without special rights',
    labelNames,
    registers: [registry],
    ...collecting(collect),
  });
}

/**
 * `mayfly_postgres_kept_connections{organization,integration}`: 1 while this replica of minting holds the connection that is kept for
 * ends, 0 while it does not have it although leases live there.
 */
export function postgresKeptConnections(
  registry: Registry,
  collect?: Collect<UpstreamLabel>,
): Gauge<UpstreamLabel> {
  return new Gauge({
    name: 'mayfly_postgres_kept_connections',
    help: 'Whether the connection is held that is kept for the ends of leases',
    labelNames,
    registers: [registry],
    ...collecting(collect),
  });
}
