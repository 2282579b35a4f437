/**
 * Issuance traces are always kept, because a lease's trace is part of its record: whatever `OTEL_TRACES_SAMPLER` or
 * the caller's traceparent says, the trace of `POST /v1/leases` is sampled from its first span, and everything below
 * a sampled span is sampled too. All other traces follow the standard environment.
 */
import { SpanKind, trace, TraceFlags, type Attributes, type Context, type Link } from '@opentelemetry/api';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  type Sampler,
  type SamplingResult,
} from '@opentelemetry/sdk-trace';

const issuancePath = '/v1/leases';

export class IssuanceSampler implements Sampler {
  /** `others` decides on every trace that is not an issuance. */
  constructor(private readonly others: Sampler) {}

  shouldSample(
    parent: Context,
    traceId: string,
    name: string,
    kind: SpanKind,
    attributes: Attributes,
    links: Link[],
  ): SamplingResult {
    if (isIssuance(kind, attributes) || isSampled(parent)) {
      return { decision: SamplingDecision.RECORD_AND_SAMPLED };
    }
    return this.others.shouldSample(parent, traceId, name, kind, attributes, links);
  }

  toString(): string {
    return `IssuanceSampler{${this.others.toString()}}`;
  }
}

/**
 * The sampler that `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` ask for (OpenTelemetry specification,
 * "SDK Environment Variables"). Unset or unknown means `parentbased_always_on`; a ratio outside [0, 1] means 1.
 */
export function samplerFromEnv(env: Readonly<Record<string, string | undefined>>): Sampler {
  const ratio = () => new TraceIdRatioBasedSampler(ratioOf(env['OTEL_TRACES_SAMPLER_ARG']));
  switch (env['OTEL_TRACES_SAMPLER']?.trim()) {
    case 'always_on':
      return new AlwaysOnSampler();
    case 'always_off':
      return new AlwaysOffSampler();
    case 'traceidratio':
      return ratio();
    case 'parentbased_always_off':
      return new ParentBasedSampler({ root: new AlwaysOffSampler() });
    case 'parentbased_traceidratio':
      return new ParentBasedSampler({ root: ratio() });
    default:
      return new ParentBasedSampler({ root: new AlwaysOnSampler() });
  }
}

/** The http instrumentation passes both attributes when it starts the span; `url.path` has no query string. */
function isIssuance(kind: SpanKind, attributes: Attributes): boolean {
  return (
    kind === SpanKind.SERVER &&
    attributes['http.request.method'] === 'POST' &&
    attributes['url.path'] === issuancePath
  );
}

function isSampled(parent: Context): boolean {
  const flags = trace.getSpanContext(parent)?.traceFlags ?? TraceFlags.NONE;
  return (flags & TraceFlags.SAMPLED) !== 0;
}

function ratioOf(value: string | undefined): number {
  const ratio = value === undefined || value.trim() === '' ? 1 : Number(value);
  return ratio >= 0 && ratio <= 1 ? ratio : 1;
}
