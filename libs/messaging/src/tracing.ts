/** W3C Trace Context in NATS headers, and the names of OpenTelemetry's messaging conventions. */
import { context, propagation, ROOT_CONTEXT, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Attributes, Context, Span, TextMapGetter, TextMapSetter } from '@opentelemetry/api';
import type { ErrorCode } from '@mayfly/contracts';
import { errorTable } from '@mayfly/contracts';
import type { MsgHdrs } from '@nats-io/transport-node';

/** Resolved late: the SDK may be registered after this module was loaded. */
export function tracer() {
  return trace.getTracer('@mayfly/messaging');
}

const setter: TextMapSetter<MsgHdrs> = { set: (headers, key, value) => headers.set(key, value) };
const getter: TextMapGetter<MsgHdrs | undefined> = {
  get: (headers, key) => (headers?.has(key) === true ? headers.get(key) : undefined),
  keys: (headers) => headers?.keys() ?? [],
};

export function injectTrace(headers: MsgHdrs, from: Context = context.active()): void {
  propagation.inject(from, headers, setter);
}

/** The sender's trace context; a root context when there is none or it is malformed. */
export function extractTrace(headers: MsgHdrs | undefined): Context {
  return headers === undefined ? ROOT_CONTEXT : propagation.extract(ROOT_CONTEXT, headers, getter);
}

/** The context that a bare `traceparent` value stands for. */
export function contextOf(traceparent: string): Context {
  return propagation.extract(ROOT_CONTEXT, { traceparent });
}

/** https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ */
export function messagingAttributes(
  operation: 'send' | 'receive' | 'process',
  destination: string,
  more?: Attributes,
): Attributes {
  return {
    'messaging.system': 'nats',
    'messaging.operation.type': operation,
    'messaging.operation.name': operation,
    'messaging.destination.name': destination,
    ...more,
  };
}

/** Ends a span with the outcome. Only a failure of ours (5xx) is an error: a refusal is the system at work. */
export function endSpan(span: Span, outcome: ErrorCode | 'ok'): void {
  if (outcome !== 'ok') {
    span.setAttribute('error.type', outcome);
    if (errorTable[outcome].status >= 500) span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
  }
  span.end();
}
