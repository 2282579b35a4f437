import { afterEach, describe, expect, it } from '@jest/globals';
import type { Registry } from 'prom-client';
import { refusedRequests } from './admission.ts';
import {
  postgresAvailableConnections,
  postgresKeptConnections,
  postgresLeaseConnections,
} from './connections.ts';
import { issuanceDuration, issuances } from './issuance.ts';
import { dueLag, liveLeases, oldestOpenRevocation, openRevocations, revocationFailures } from './leases.ts';
import { deadLetters, outboxPending, rpcDuration, signalsLost, streamLag } from './messages.ts';
import { createMetrics } from './registry.ts';
import { ready } from './service.ts';
import { ungrantedTables } from './upstreams.ts';
import { auditFindings, auditVerifications, auditVerifiedAt } from './verification.ts';

describe('createMetrics', () => {
  let registry: Registry;
  afterEach(() => registry.clear());

  it('serves the process metrics and the ones registered, with the service on each', async () => {
    registry = createMetrics('revocation');
    issuances(registry).inc({ outcome: 'issued' });
    issuanceDuration(registry, ['credential', 'outcome']).observe(
      { credential: 'orders-db/readonly', outcome: 'issued' },
      0.01,
    );
    liveLeases(registry, (gauge) => gauge.set({ state: 'active' }, 3));
    dueLag(registry, async (gauge) => gauge.set(await Promise.resolve(1.5)));
    openRevocations(registry).set(2);
    oldestOpenRevocation(registry).set(90);
    revocationFailures(registry).inc({ provider: 'postgres' });
    streamLag(registry).set({ stream: 'MAYFLY_EVENTS', consumer: 'audit' }, 2);
    deadLetters(registry).inc({ consumer: 'audit' });
    signalsLost(registry).inc();
    outboxPending(registry).set(4);
    refusedRequests(registry).inc({ cause: 'source_rate' });
    ready(registry).set({ check: 'postgres' }, 0);
    const at = { organization: 'acme', integration: 'orders-db' };
    postgresLeaseConnections(registry).set(at, 75);
    postgresAvailableConnections(registry).set(at, 97);
    postgresKeptConnections(registry).set(at, 1);
    ungrantedTables(registry).set(
      { organization: 'acme', integration: 'orders-db', cause: 'no_grant_option' },
      2,
    );
    auditVerifiedAt(registry).set({ scope: 'full' }, 1_900_000_000);
    auditFindings(registry).set({ problem: 'changed' }, 1);
    auditVerifications(registry).inc({ outcome: 'broken' });
    rpcDuration(registry).observe({ operation: 'revocation.activate', code: 'ok' }, 0.002);

    const text = await registry.metrics();
    expect(text).toContain('process_cpu_seconds_total{service="revocation"}');
    for (const series of [
      'mayfly_issuances_total{outcome="issued",service="revocation"} 1',
      'mayfly_live_leases{state="active",service="revocation"} 3',
      'mayfly_due_lag_seconds{service="revocation"} 1.5',
      'mayfly_open_revocations{service="revocation"} 2',
      'mayfly_oldest_open_revocation_seconds{service="revocation"} 90',
      'mayfly_revocation_failures_total{provider="postgres",service="revocation"} 1',
      'mayfly_stream_lag_messages{stream="MAYFLY_EVENTS",consumer="audit",service="revocation"} 2',
      'mayfly_dead_letters_total{consumer="audit",service="revocation"} 1',
      'mayfly_signals_lost_total{service="revocation"} 1',
      'mayfly_outbox_pending{service="revocation"} 4',
      'mayfly_refused_requests_total{cause="source_rate",service="revocation"} 1',
      'mayfly_ready{check="postgres",service="revocation"} 0',
      'mayfly_postgres_lease_connections{organization="acme",integration="orders-db",service="revocation"} 75',
      'mayfly_postgres_available_connections{organization="acme",integration="orders-db",service="revocation"} 97',
      'mayfly_postgres_kept_connections{organization="acme",integration="orders-db",service="revocation"} 1',
      'mayfly_audit_verified_timestamp_seconds{scope="full",service="revocation"} 1900000000',
      'mayfly_audit_findings{problem="changed",service="revocation"} 1',
      'mayfly_audit_verifications_total{outcome="broken",service="revocation"} 1',
      'mayfly_postgres_ungranted_tables{organization="acme",integration="orders-db",cause="no_grant_option",service="revocation"} 2',
    ]) {
      expect(text).toContain(series);
    }
    expect(text).toMatch(/mayfly_rpc_duration_seconds_count\{.*operation="revocation.activate".*\} 1/);
    expect(text).toMatch(/mayfly_issuance_duration_seconds_count\{.*credential="orders-db\/readonly".*\} 1/);
  });
});
