import { afterEach, describe, expect, it } from '@jest/globals';
import { INVALID_SPAN_CONTEXT, trace, type Attributes, type TracerProvider } from '@opentelemetry/api';
import { MayflyError } from '@mayfly/contracts';
import type { BusClient } from '@mayfly/messaging';
import type { Pool } from 'pg';
import type { Lease } from '../store/lease.ts';
import { Claims } from './claims.ts';
import { ProviderSlots } from './provider-slots.ts';
import { Reconciler } from './reconciler.ts';
import { Upstreams } from './upstreams.ts';

const lease: Lease = {
  leaseId: '01890a5d-ac96-774b-bcce-b302099a8057',
  organization: 'acme',
  sessionId: '01890a5d-ac96-774b-bcce-b302099a8058',
  agentId: 'spiffe://acme.example/agent/ci/build/1',
  credential: 'orders-db/readonly',
  integration: 'orders-db',
  provider: 'postgres',
  scope: {},
  ttlSeconds: 60,
  configVersion: 1,
  issuanceTraceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  state: 'failed',
  cleanup: 'pending',
  renewable: false,
  renewals: 0,
  attempts: 1,
  claims: 1,
};

describe('Reconciler', () => {
  afterEach(() => trace.disable());

  const nothing = () => undefined;
  const pool = { query: () => Promise.resolve({ rows: [], rowCount: 0 }) } as unknown as Pool;
  const reconcilerCalling = (call: BusClient['call']) =>
    new Reconciler({
      pool,
      claims: new Claims(),
      client: { call },
      slots: new ProviderSlots({ overall: 1, perIntegration: 1, perSecond: 10_000 }),
      relay: { nudge: nothing },
      logger: { warn: nothing, error: nothing },
      upstreams: new Upstreams({
        pool,
        logger: { warn: nothing },
        breakerFailures: 5,
        breakerOpenMs: 1_000,
        attemptMs: 1_000,
        due: () => ({ nudge: nothing }),
      }),
      backoff: { firstMs: 1, longestMs: 1 },
      loudAfter: 6,
      onFailure: nothing,
    });

  it('says in the trace of the lease whose lease it cleans up after', async () => {
    const spans: { name: string; attributes: Attributes | undefined }[] = [];
    const startSpan = (name: string, options?: { attributes?: Attributes }) => {
      spans.push({ name, attributes: options?.attributes });
      return trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
    };
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan }) } as unknown as TracerProvider);
    const answer = { order: 'order', outcome: 'absent' };
    await reconcilerCalling(() => Promise.resolve(answer) as never).reconcile(lease);
    expect(spans).toEqual([
      {
        name: 'lease.reconcile',
        attributes: expect.objectContaining({
          'mayfly.lease.id': lease.leaseId,
          'mayfly.session.id': lease.sessionId,
          'mayfly.agent.id': lease.agentId,
          'mayfly.credential': lease.credential,
        }),
      },
    ]);
  });

  it('does not wait again and again for a policy that is silent', async () => {
    const called: string[] = [];
    const reconciler = reconcilerCalling(({ name }) => {
      called.push(name);
      return Promise.reject(new MayflyError('dependency_unavailable', 'silent'));
    });
    for (let count = 0; count < 10; count++) await reconciler.reconcile(lease);
    expect(called).toEqual(Array(3).fill('policy.order-reconciliation'));
  });
});
