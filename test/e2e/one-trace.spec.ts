/** One mint is one trace, from the gateway to the expiry, with the right parents; as an OTLP receiver gets it. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { PostgresSecret } from '@mayfly/domain';
import { waitUntil, type DevelopmentStack, type OpenedLease } from '@mayfly/stack';
import { openSession, OtlpReceiver, startWholeStack, type ReceivedSpan } from '@mayfly/testing';

const callerTraceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const callerSpanId = '00f067aa0ba902b7';

describe('the trace of a lease', () => {
  let stack: DevelopmentStack;
  let receiver: OtlpReceiver;
  let lease: OpenedLease<PostgresSecret>;
  const trace = () => receiver.trace(callerTraceId);

  beforeAll(async () => {
    receiver = await OtlpReceiver.start();
    stack = await startWholeStack({
      // The configured sampler drops everything that nobody else asked for: issuances must be there all the same.
      inheritFrom: { ...process.env, ...receiver.environment, OTEL_TRACES_SAMPLER: 'parentbased_always_off' },
    });
    const agent = await openSession(stack);
    // The caller says that it does not sample (flag 00).
    lease = await agent.postgresLease(
      'orders-db/renewable',
      { ttl_seconds: 2 },
      { traceparent: `00-${callerTraceId}-${callerSpanId}-00` },
    );
    // A request of its own, in another trace.
    await agent.renew(lease.lease_id, { ttl_seconds: 4 });
    await waitUntil(
      'the end of the lease to reach the receiver',
      () => trace().some(({ name }) => name === 'lease.expire'),
      { deadlineMs: 30_000 },
    );
    await waitUntil(
      'its record to reach the receiver',
      () => trace().filter(({ service }) => service === 'mayfly-audit').length >= 3,
      { deadlineMs: 30_000 },
    );
  }, 120_000);

  afterAll(async () => {
    await stack.stop();
    await receiver.stop();
  });

  const spanById = (id: string | undefined) => trace().find(({ spanId }) => spanId === id);

  /** The span and all above it, nearest first. */
  function ancestry(span: ReceivedSpan): ReceivedSpan[] {
    const parent = spanById(span.parentSpanId);
    return parent === undefined ? [span] : [span, ...ancestry(parent)];
  }

  const find = (service: string, matches: (span: ReceivedSpan) => boolean) => {
    const found = trace().find((span) => span.service === `mayfly-${service}` && matches(span));
    if (found === undefined)
      throw new Error(
        `No such span of ${service} among: ${trace()
          .map((s) => `${s.service} ${s.name}`)
          .join(', ')}`,
      );
    return found;
  };

  it('is the trace of the request, although the caller did not sample it', () => {
    expect(lease.trace_id).toBe(callerTraceId);
    const root = trace().filter(({ parentSpanId }) => parentSpanId === callerSpanId);
    expect(root).toEqual([expect.objectContaining({ service: 'mayfly-gateway' })]);
  });

  it('has no span whose parent is missing', () => {
    const orphans = trace().filter(
      ({ parentSpanId }) => parentSpanId !== callerSpanId && spanById(parentSpanId) === undefined,
    );
    expect(orphans.map(({ service, name }) => `${service} ${name}`)).toEqual([]);
  });

  it.each([
    ['policy', 'decides', (span: ReceivedSpan) => span.name.includes('decide')],
    ['minting', 'issues', (span: ReceivedSpan) => span.name === 'lease.issue'],
    ['revocation', 'activates', (span: ReceivedSpan) => span.name.includes('activate')],
  ])('hangs under the gateway where %s %s', (service, _verb, matches) => {
    const services = ancestry(find(service, matches)).map((span) => span.service);
    expect(services.at(-1)).toBe('mayfly-gateway');
  });

  it('has the work in Postgres under the service that does it', () => {
    const inPostgres = (span: ReceivedSpan) =>
      span.attributes['db.system.name'] === 'postgresql' || span.attributes['db.system'] === 'postgresql';
    for (const service of ['policy', 'minting', 'revocation']) {
      expect(ancestry(find(service, inPostgres)).length).toBeGreaterThan(2);
    }
  });

  it('has the activation under the mint', () => {
    const activation = find('revocation', (span) => span.name.includes('activate'));
    expect(ancestry(activation).map(({ name }) => name)).toContain('lease.issue');
  });

  it('has what audit and revocation took from the streams', () => {
    for (const service of ['audit', 'revocation']) {
      find(
        service,
        (span) => span.attributes['messaging.system'] === 'nats' && span.name.includes('process'),
      );
    }
  });

  it('has the expiry as a child of the issuance, with what it did upstream below', () => {
    const expiry = find('revocation', (span) => span.name === 'lease.expire');
    expect(ancestry(expiry).map(({ name }) => name)).toContain('lease.issue');
    expect(expiry.attributes['mayfly.lease.id']).toBe(lease.lease_id);
    const below = trace().filter(
      (span) =>
        span.service === 'mayfly-minting' && ancestry(span).some(({ spanId }) => spanId === expiry.spanId),
    );
    expect(below.some((span) => 'db.system.name' in span.attributes || 'db.system' in span.attributes)).toBe(
      true,
    );
  });

  it('has the renewal too, linked to the request that asked for it, with what it did upstream below', () => {
    const renewal = find('revocation', (span) => span.name === 'lease.renew');
    expect(ancestry(renewal).map(({ name }) => name)).toContain('lease.issue');
    expect(renewal.attributes).toMatchObject({
      'mayfly.lease.id': lease.lease_id,
      'mayfly.outcome': 'renewed',
    });
    const [link] = renewal.links;
    expect(link?.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(link?.traceId).not.toBe(callerTraceId);
    const below = trace().filter((span) => ancestry(span).some(({ spanId }) => spanId === renewal.spanId));
    expect(below.some(({ name }) => name === 'provider.renew')).toBe(true);
  });

  it('names lease, credential and decision by their attributes', () => {
    const attributes = Object.assign({}, ...trace().map((span) => span.attributes)) as Record<
      string,
      unknown
    >;
    expect(attributes).toMatchObject({
      'mayfly.lease.id': lease.lease_id,
      'mayfly.credential': 'orders-db/renewable',
      'mayfly.decision': 'allow',
      'messaging.system': 'nats',
    });
  });

  it('leaves other requests to the configured sampler', () => {
    expect(receiver.spans.filter(({ name }) => name.includes('/v1/token'))).toEqual([]);
  });
});
