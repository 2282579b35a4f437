/**
 * Spans of a lease's life. The trace that a lease was issued in stays its trace until it has ended: later work
 * (use, renewal, expiry, revocation) is written into it with `inTrace`, as children of the issuance span, linked to
 * whatever caused the work.
 *
 * Needs the SDK that `@mayfly/telemetry/register` installs. Without one, spans record nothing, `currentTraceId` is
 * undefined and work runs all the same; with `OTEL_TRACES_EXPORTER=none` ids are made, but nothing is exported.
 */
import {
  context,
  isSpanContextValid,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Attributes,
  type Context,
  type Link,
  type Span,
  type SpanContext,
} from '@opentelemetry/api';
import { errorTable } from '@mayfly/contracts';
import { answerCode } from './answer-code.ts';
import { SpanAttribute } from './attributes.ts';
import { errorKind, errorType } from './error-type.ts';
import { aboutSpan, workFields, type WorkSubject } from './work-scope.ts';

export interface SpanSettings {
  /** W3C traceparents of what else caused this work. Malformed ones are left out. */
  readonly links?: readonly string[];
  /** Never a secret, never a handle: attributes leave the process. */
  readonly attributes?: Attributes;
  /** INTERNAL unless told. */
  readonly kind?: SpanKind;
}

/** The active span as a W3C traceparent (version 00), or undefined when there is none or no SDK is installed. */
export function currentTraceparent(): string | undefined {
  const active = trace.getActiveSpan()?.spanContext();
  if (active === undefined || !isSpanContextValid(active)) return undefined;
  return `00-${active.traceId}-${active.spanId}-${active.traceFlags.toString(16).padStart(2, '0')}`;
}

/** 32 lower-case hex digits, or undefined when nothing is traced here. */
export function currentTraceId(): string | undefined {
  const active = trace.getActiveSpan()?.spanContext();
  return active !== undefined && isSpanContextValid(active) ? active.traceId : undefined;
}

/** The trace id inside a traceparent, or undefined when it is malformed (W3C Trace Context §3.2.2). */
export function traceIdOf(traceparent: string): string | undefined {
  return parseTraceparent(traceparent)?.traceId;
}

/**
 * Runs `fn` in a new span that is a child of `traceparent`, sampled whatever its flag says, and linked to the span
 * active until now (and to `settings.links`). A malformed traceparent costs only the parentage: the span then starts
 * where we are, because work that ends a lease must not fail for the sake of its trace.
 *
 * @throws whatever `fn` throws, after noting the error's kind (never its message) on the span.
 */
export function inTrace<T>(
  traceparent: string,
  name: string,
  settings: SpanSettings,
  fn: (span: Span) => T | Promise<T>,
): Promise<T> {
  const parent = parseTraceparent(traceparent);
  if (parent === undefined) return run(name, settings, {}, context.active(), [], fn);
  const cause = trace.getActiveSpan()?.spanContext();
  const links = cause !== undefined && isSpanContextValid(cause) ? [{ context: cause }] : [];
  const sampled = { ...parent, traceFlags: parent.traceFlags | TraceFlags.SAMPLED };
  // Another lease's work than what caused it, it may be: so nothing of that is told of it.
  return run(name, settings, {}, trace.setSpanContext(context.active(), sampled), links, fn);
}

/** Runs `fn` in a new child of the active span. @throws whatever `fn` throws, as `inTrace` does. */
export function withSpan<T>(
  name: string,
  settings: SpanSettings,
  fn: (span: Span) => T | Promise<T>,
): Promise<T> {
  return run(name, settings, workFields(), context.active(), [], fn);
}

/**
 * Marks a span as failed with the error's kind, and with the code of what is behind it (a database's SQLSTATE, an HTTP status, an
 * errno): no message, no stack.
 */
export function recordFailure(span: Span, error: unknown): void {
  span.recordException(errorKind(error));
  const { code } = errorKind(error);
  if (code !== undefined && code in errorTable) span.setAttribute(SpanAttribute.errorCode, code);
  span.setAttributes({ 'error.type': errorType(error), ...answerCode(error) });
  span.setStatus({ code: SpanStatusCode.ERROR });
}

async function run<T>(
  name: string,
  { links = [], attributes = {}, kind = SpanKind.INTERNAL }: SpanSettings,
  outer: WorkSubject,
  parent: Context,
  causes: Link[],
  fn: (span: Span) => T | Promise<T>,
): Promise<T> {
  const given = links.flatMap((link) => {
    const linked = parseTraceparent(link);
    return linked === undefined ? [] : [{ context: linked }];
  });
  const span = trace
    .getTracer('mayfly')
    .startSpan(name, { kind, attributes, links: [...causes, ...given] }, parent);
  try {
    return await context.with(trace.setSpan(parent, span), () =>
      aboutSpan(attributes, outer, () => fn(span)),
    );
  } catch (error) {
    recordFailure(span, error);
    throw error;
  } finally {
    span.end();
  }
}

/** W3C Trace Context §3.2: version ff is forbidden; a later version may append fields after the flags. */
function parseTraceparent(traceparent: string): SpanContext | undefined {
  const match = /^(?!ff)([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/.exec(traceparent);
  const [, version, traceId, spanId, flags, rest] = match ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  if (version === '00' && rest !== undefined) return undefined;
  const parsed = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(parsed) ? parsed : undefined;
}
