/**
 * Tells metrics and log of the connections at upstream servers. The gauges are made anew at each scrape from where leases live at
 * that moment, so that no series of an integration stays behind that is no longer used.
 */
import {
  postgresAvailableConnections,
  postgresKeptConnections,
  postgresLeaseConnections,
  type Collect,
  type Logger,
  type UpstreamLabel,
} from '@mayfly/telemetry';
import type {
  ConnectionObserver,
  ReservedUnused,
  ServerConnections,
} from '../providers/postgres/connection-observer.ts';

type Metrics = Parameters<typeof postgresKeptConnections>[0];

export class ConnectionReport implements ConnectionObserver {
  #read: () => readonly ServerConnections[] = () => [];

  constructor(
    metrics: Metrics,
    private readonly logger: Pick<Logger, 'warn'>,
  ) {
    postgresLeaseConnections(
      metrics,
      this.#telling(({ capacity }) => capacity?.leases),
    );
    postgresAvailableConnections(
      metrics,
      this.#telling(({ capacity }) => capacity?.available),
    );
    postgresKeptConnections(
      metrics,
      this.#telling(({ isKept }) => Number(isKept)),
    );
  }

  watch(read: () => readonly ServerConnections[]): void {
    this.#read = read;
  }

  reservedUnused({ organization, integration, reserved, grant }: ReservedUnused): void {
    this.logger.warn(
      { organization, integration, reserved_connections: reserved },
      `the database server reserves connections that Mayfly may not use; so that leases can be ended when all others are taken, ` +
        `run as a superuser: ${grant}`,
    );
  }

  #telling(figure: (of: ServerConnections) => number | undefined): Collect<UpstreamLabel> {
    return (gauge) => {
      gauge.reset();
      for (const connections of worstOfEach(this.#read())) {
        const { organization, integration } = connections;
        const value = figure(connections);
        if (value !== undefined) gauge.set({ organization, integration }, value);
      }
    };
  }
}

/** An integration whose reference has changed has leases at two servers: the one that is worse off is told. */
function worstOfEach(all: readonly ServerConnections[]): Iterable<ServerConnections> {
  const worst = new Map<string, ServerConnections>();
  for (const one of all) {
    const key = `${one.organization}/${one.integration}`;
    const other = worst.get(key);
    const isWorse =
      other === undefined || (one.isKept === other.isKept ? share(one) > share(other) : !one.isKept);
    if (isWorse) worst.set(key, one);
  }
  return worst.values();
}

/** What part of the connections leases may take. */
function share({ capacity }: ServerConnections): number {
  return capacity === undefined ? 0 : capacity.leases / Math.max(1, capacity.available);
}
