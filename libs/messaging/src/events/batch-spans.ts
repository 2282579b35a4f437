/** The spans of a batch, by OpenTelemetry's messaging conventions. */
import {
  context,
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { Context, Link, Span } from '@opentelemetry/api';
import { extractTrace, messagingAttributes, tracer } from '../tracing.ts';
import type { Delivery, HeldMessage } from './delivery.ts';

interface Traced {
  held: HeldMessage;
  delivery: Delivery;
}

/**
 * Runs `work`, which resolves to its error or `undefined`. A single message is processed inside its own trace. For several there
 * is one span with a link to each, and beside it a span in every message's own trace, so that a lease's trace shows who has
 * dealt with its events.
 */
export async function traceBatch(
  consumer: string,
  stream: string,
  messages: readonly Traced[],
  work: () => Promise<unknown>,
): Promise<unknown> {
  const origins = messages.map(({ held }) => extractTrace(held.message.headers));
  const [only] = origins;
  if (messages.length === 1 && only) {
    const span = start(consumer, stream, only, messages[0]);
    return finish([span], await context.with(trace.setSpan(only, span), work));
  }
  const links = origins.flatMap(linkTo);
  const batch = tracer().startSpan(
    `process ${consumer}`,
    {
      kind: SpanKind.CONSUMER,
      links,
      attributes: messagingAttributes('process', stream, {
        'messaging.consumer.group.name': consumer,
        'messaging.batch.message_count': messages.length,
      }),
    },
    ROOT_CONTEXT,
  );
  const spans: Span[] = [batch];
  for (const [index, origin] of origins.entries()) {
    if (linkTo(origin).length > 0) {
      spans.push(start(consumer, stream, origin, messages[index], batch.spanContext()));
    }
  }
  return finish(spans, await context.with(trace.setSpan(ROOT_CONTEXT, batch), work));
}

function linkTo(origin: Context): Link[] {
  const spanContext = trace.getSpanContext(origin);
  return spanContext && isSpanContextValid(spanContext) ? [{ context: spanContext }] : [];
}

function start(
  consumer: string,
  stream: string,
  parent: Context,
  message: Traced | undefined,
  batch?: Link['context'],
): Span {
  const event = message?.delivery.event;
  return tracer().startSpan(
    `process ${consumer}`,
    {
      kind: SpanKind.CONSUMER,
      ...(batch === undefined ? {} : { links: [{ context: batch }] }),
      attributes: messagingAttributes('process', stream, {
        'messaging.consumer.group.name': consumer,
        'messaging.message.id': event?.id,
        'mayfly.event.type': event?.type,
        'mayfly.lease.id': event?.data.lease_id,
      }),
    },
    parent,
  );
}

function finish(spans: Span[], error: unknown): unknown {
  for (const span of spans) {
    if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  }
  return error;
}
