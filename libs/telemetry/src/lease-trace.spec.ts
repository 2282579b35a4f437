import { afterAll, beforeEach, describe, expect, it } from '@jest/globals';
import { trace, SpanStatusCode } from '@opentelemetry/api';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { AlwaysOffSampler, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { MayflyError } from '@mayfly/contracts';
import { IssuanceSampler } from './issuance-sampler.ts';
import { currentTraceId, currentTraceparent, inTrace, traceIdOf, withSpan } from './lease-trace.ts';
import { silenceSpans } from './silent-spans.ts';

const exporter = new InMemorySpanExporter();
const processor = new SimpleSpanProcessor({ exporter });
const sdk = new NodeSDK({
  // Nothing is sampled but what is asked for: a span that shows up was forced.
  sampler: new IssuanceSampler(new AlwaysOffSampler()),
  spanProcessors: [processor],
  autoDetectResources: false,
  metricReaders: [],
  logRecordProcessors: [],
});
sdk.start();
silenceSpans();

const leaseTrace = '0af7651916cd43dd8448eb211c80319c';
const issuanceSpan = 'b7ad6b7169203331';
const unsampled = `00-${leaseTrace}-${issuanceSpan}-00`;
const request = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

function finished(name: string) {
  const span = exporter.getFinishedSpans().find((candidate) => candidate.name === name);
  if (span === undefined) throw new Error(`no span ${name} among ${exporter.getFinishedSpans().length}`);
  return span;
}

describe('spans of a lease’s life', () => {
  beforeEach(() => exporter.reset());
  afterAll(() => sdk.shutdown());

  it('writes later work into the issuance trace as a sampled child, whatever the flag says', async () => {
    await inTrace(unsampled, 'lease.expire', { attributes: { 'mayfly.lease.id': 'l1' } }, () => {
      expect(currentTraceId()).toBe(leaseTrace);
      expect(currentTraceparent()).toMatch(new RegExp(`^00-${leaseTrace}-[\\da-f]{16}-01$`));
    });
    const span = finished('lease.expire');
    expect(span.spanContext().traceId).toBe(leaseTrace);
    expect(span.parentSpanContext?.spanId).toBe(issuanceSpan);
    expect(span.attributes).toEqual({ 'mayfly.lease.id': 'l1' });
    expect(span.links).toEqual([]);
  });

  it('links to the span that caused the work, and to the ones named', async () => {
    const named = '00-11111111111111111111111111111111-2222222222222222-01';
    await inTrace(request, 'request', {}, async (outer) => {
      await inTrace(unsampled, 'lease.revoke', { links: [named, 'garbage'] }, () => undefined);
      expect(finished('lease.revoke').links.map(({ context }) => context.spanId)).toEqual([
        outer.spanContext().spanId,
        '2222222222222222',
      ]);
    });
    expect(finished('lease.revoke').spanContext().traceId).toBe(leaseTrace);
    expect(finished('request').spanContext().traceId).toBe(traceIdOf(request));
  });

  it('makes a child of the active span and gives back what the work returns', async () => {
    const result = await inTrace(unsampled, 'outer', {}, () =>
      withSpan('inner', {}, () => Promise.resolve(7)),
    );
    expect(result).toBe(7);
    expect(finished('inner').parentSpanContext?.spanId).toBe(finished('outer').spanContext().spanId);
  });

  it('notes an error by its code and keeps its message out of the span', async () => {
    const error = new MayflyError('provider_unavailable', 'the upstream is away', {
      cause: new Error("password 'hunter2' is wrong"),
    });
    await expect(inTrace(unsampled, 'failing', {}, () => Promise.reject(error))).rejects.toBe(error);
    const span = finished('failing');
    expect(span.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(span.attributes['error.type']).toBe('provider_unavailable');
    expect(span.events.map(({ attributes }) => attributes)).toEqual([
      { 'exception.type': 'provider_unavailable' },
    ]);
  });

  it('notes the code of the server behind an error, by its semantic convention, beside Mayfly’s own', async () => {
    const cause = Object.assign(new Error('hunter2'), { severity: 'ERROR', code: '42501' });
    const error = new MayflyError('provider_rejected', 'the upstream refused', { cause });
    await inTrace(unsampled, 'sampled', {}, () =>
      withSpan('refused', {}, () => Promise.reject(error)).catch(() => undefined),
    );
    expect(finished('refused').attributes).toEqual({
      'db.response.status_code': '42501',
      'error.type': '42501',
      'mayfly.error.code': 'provider_rejected',
    });
  });

  it('keeps messages out of spans that others write', async () => {
    await inTrace(unsampled, 'outer', {}, () => {
      trace.getTracer('library').startActiveSpan('careless', (span) => {
        span.recordException(new Error('SCRAM-SHA-256$4096:salt'));
        span.recordException('a text with hunter2');
        span.recordException("PostgreSQL error of type 'error' occurred (code: 23505)");
        span.setStatus({ code: SpanStatusCode.ERROR, message: 'hunter2' });
        span.end();
      });
    });
    const { status, events, parentSpanContext } = finished('careless');
    expect(status).toEqual({ code: SpanStatusCode.ERROR });
    expect(events.map(({ attributes }) => attributes)).toEqual([
      { 'exception.type': 'Error' },
      { 'exception.type': 'Error' },
      { 'exception.type': '23505' },
    ]);
    expect(parentSpanContext?.spanId).toBe(finished('outer').spanContext().spanId);
  });

  it.each([
    'garbage',
    '',
    'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    '00-00000000000000000000000000000000-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01',
    '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more',
  ])('runs the work where it is when the traceparent is malformed: %p', async (malformed) => {
    expect(traceIdOf(malformed)).toBeUndefined();
    await inTrace(unsampled, 'outer', {}, () => inTrace(malformed, 'work', {}, () => undefined));
    expect(finished('work').parentSpanContext?.spanId).toBe(finished('outer').spanContext().spanId);
  });

  it('knows no trace outside of spans', () => {
    expect(currentTraceId()).toBeUndefined();
    expect(currentTraceparent()).toBeUndefined();
  });
});
