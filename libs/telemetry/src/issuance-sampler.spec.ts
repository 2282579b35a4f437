import { describe, expect, it } from '@jest/globals';
import { ROOT_CONTEXT, SpanKind, trace, TraceFlags, type Context } from '@opentelemetry/api';
import { SamplingDecision } from '@opentelemetry/sdk-trace';
import { IssuanceSampler, samplerFromEnv } from './issuance-sampler.ts';

const traceId = '0af7651916cd43dd8448eb211c80319c';
const issuance = { 'http.request.method': 'POST', 'url.path': '/v1/leases' };

function parent(traceFlags: TraceFlags): Context {
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId: 'b7ad6b7169203331',
    traceFlags,
    isRemote: true,
  });
}

function decide(env: Record<string, string>, from: Context, attributes = {}, kind = SpanKind.SERVER) {
  return new IssuanceSampler(samplerFromEnv(env)).shouldSample(from, traceId, 'POST', kind, attributes, [])
    .decision;
}

const { RECORD_AND_SAMPLED, NOT_RECORD } = SamplingDecision;

describe('IssuanceSampler', () => {
  it.each([
    ['always_off', '1'],
    ['parentbased_always_off', '1'],
    ['traceidratio', '0'],
    ['parentbased_traceidratio', '0'],
    ['parentbased_always_on', '1'],
  ])(
    'samples an issuance under %s, whatever the flag of the caller',
    (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG) => {
      const env = { OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG };
      for (const from of [ROOT_CONTEXT, parent(TraceFlags.NONE), parent(TraceFlags.SAMPLED)]) {
        expect(decide(env, from, issuance)).toBe(RECORD_AND_SAMPLED);
      }
    },
  );

  it('samples whatever is below a sampled span, also under always_off', () => {
    const env = { OTEL_TRACES_SAMPLER: 'always_off' };
    expect(decide(env, parent(TraceFlags.SAMPLED), {}, SpanKind.CONSUMER)).toBe(RECORD_AND_SAMPLED);
  });

  it.each([
    ['another path', { ...issuance, 'url.path': '/v1/leases/1/renew' }, SpanKind.SERVER],
    ['another method', { ...issuance, 'http.request.method': 'GET' }, SpanKind.SERVER],
    ['a call that we make', issuance, SpanKind.CLIENT],
    ['a span without attributes', {}, SpanKind.SERVER],
  ])('leaves %s to the environment', (_, attributes, kind) => {
    expect(decide({ OTEL_TRACES_SAMPLER: 'always_off' }, ROOT_CONTEXT, attributes, kind)).toBe(NOT_RECORD);
    expect(decide({ OTEL_TRACES_SAMPLER: 'always_on' }, ROOT_CONTEXT, attributes, kind)).toBe(
      RECORD_AND_SAMPLED,
    );
    expect(decide({}, ROOT_CONTEXT, attributes, kind)).toBe(RECORD_AND_SAMPLED);
    expect(decide({}, parent(TraceFlags.NONE), attributes, kind)).toBe(NOT_RECORD);
  });

  it.each(['', ' ', 'many', '2', '-1'])('takes the ratio %p for 1', (OTEL_TRACES_SAMPLER_ARG) => {
    expect(decide({ OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG }, ROOT_CONTEXT)).toBe(
      RECORD_AND_SAMPLED,
    );
  });
});
