import { beforeEach, describe, expect, it } from '@jest/globals';
import { createMetrics } from '@mayfly/telemetry';
import type { ServerConnections } from '../providers/postgres/connection-observer.ts';
import { ConnectionReport } from './connection-report.ts';

describe('what is told of the connections at upstream servers', () => {
  let metrics: ReturnType<typeof createMetrics>;
  let report: ConnectionReport;
  let warnings: string[];
  beforeEach(() => {
    metrics = createMetrics('mayfly-minting');
    warnings = [];
    report = new ConnectionReport(metrics, {
      warn: (_fields: object, message?: string) => void warnings.push(message ?? ''),
    });
  });

  const told = async () =>
    (await metrics.metrics())
      .split('\n')
      .filter((line) => line.startsWith('mayfly_postgres_'))
      .map((line) => line.replace(/,?service="[^"]*"/, ''))
      .sort();
  const shop = { organization: 'acme', integration: 'shop-db' };

  it('is nothing before a provider has leases anywhere', async () => {
    expect(await told()).toEqual([]);
  });

  it('goes with the last lease of an integration', async () => {
    let now: ServerConnections[] = [
      { ...shop, isKept: true, capacity: { leases: 75, available: 97 } },
      { organization: 'globex', integration: 'crm-db', isKept: false },
    ];
    report.watch(() => now);
    expect(await told()).toEqual([
      'mayfly_postgres_available_connections{organization="acme",integration="shop-db"} 97',
      'mayfly_postgres_kept_connections{organization="acme",integration="shop-db"} 1',
      'mayfly_postgres_kept_connections{organization="globex",integration="crm-db"} 0',
      'mayfly_postgres_lease_connections{organization="acme",integration="shop-db"} 75',
    ]);
    now = now.slice(1);
    expect(await told()).toEqual([
      'mayfly_postgres_kept_connections{organization="globex",integration="crm-db"} 0',
    ]);
  });

  it('is of the server that is worse off, where an integration has leases at two', async () => {
    const servers: ServerConnections[] = [
      { ...shop, isKept: true, capacity: { leases: 5, available: 97 } },
      { ...shop, isKept: true, capacity: { leases: 90, available: 97 } },
      { ...shop, isKept: true },
    ];
    report.watch(() => servers);
    expect(await told()).toContain(
      'mayfly_postgres_lease_connections{organization="acme",integration="shop-db"} 90',
    );
    report.watch(() => [{ ...shop, isKept: false }, ...servers]);
    expect(await told()).toEqual([
      'mayfly_postgres_kept_connections{organization="acme",integration="shop-db"} 0',
    ]);
  });

  it('says which GRANT lets Mayfly use what a server reserves', () => {
    report.reservedUnused({ ...shop, reserved: 3, grant: 'GRANT x TO "admin"' });
    expect(warnings).toEqual([expect.stringContaining('run as a superuser: GRANT x TO "admin"')]);
  });
});
