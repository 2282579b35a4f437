/**
 * Keeps error messages and stacks out of all spans, whoever writes them. Instrumentations copy `error.message` into
 * the span's status: a parser's message quotes the body, a database's message quotes the value, and either may be a
 * secret. Instead of trusting each of them, every tracer hands out spans that keep an error's kind only.
 */
import {
  context,
  ProxyTracerProvider,
  trace,
  type Context,
  type Span,
  type SpanOptions,
  type Tracer,
  type TracerOptions,
  type TracerProvider,
} from '@opentelemetry/api';
import { errorKind } from './error-type.ts';

/** Wraps the global tracer provider. Call once, right after the SDK has been started and before any span is made. */
export function silenceSpans(): void {
  const global = trace.getTracerProvider();
  if (global instanceof ProxyTracerProvider)
    global.setDelegate(new SilentTracerProvider(global.getDelegate()));
}

/** Hands out tracers whose spans drop status messages, exception messages and stacks. */
export class SilentTracerProvider implements TracerProvider {
  constructor(private readonly inner: TracerProvider) {}

  getTracer(name: string, version?: string, options?: TracerOptions): Tracer {
    return new SilentTracer(this.inner.getTracer(name, version, options));
  }
}

class SilentTracer implements Tracer {
  constructor(private readonly inner: Tracer) {}

  startSpan(name: string, options?: SpanOptions, parent?: Context): Span {
    return silent(this.inner.startSpan(name, options, parent));
  }

  startActiveSpan<F extends (span: Span) => unknown>(name: string, ...rest: unknown[]): ReturnType<F> {
    const fn = rest.at(-1) as F;
    const options = rest.length > 1 ? (rest[0] as SpanOptions) : undefined;
    const parent = rest.length > 2 ? (rest[1] as Context) : context.active();
    const span = this.startSpan(name, options, parent);
    return context.with(trace.setSpan(parent, span), () => fn(span)) as ReturnType<F>;
  }
}

/** What the pg instrumentation passes instead of an error; it has the SQLSTATE and no message. */
const sanitized = /^PostgreSQL error of type '\w+' occurred \(code: (\w+)\)$/;

/** Changes the span in place, because the SDK and the context know it by identity. */
function silent(span: Span): Span {
  if (!span.isRecording()) return span;
  const setStatus = span.setStatus.bind(span);
  const recordException = span.recordException.bind(span);
  span.setStatus = (status) => setStatus({ code: status.code });
  span.recordException = (exception, time) => {
    const code = typeof exception === 'string' ? sanitized.exec(exception)?.[1] : undefined;
    recordException({ ...errorKind(exception), ...(code === undefined ? {} : { code }) }, time);
  };
  return span;
}
