/** Structured logs: one JSON object per line on stdout, with the trace and the lease it belongs to and without secrets. */
import { createRequire } from 'node:module';
import { isSpanContextValid, trace } from '@opentelemetry/api';
import type * as Pino from 'pino';
import { answerCode } from './answer-code.ts';
import { redactFields, redactText } from './redaction.ts';
import { workFields } from './work-scope.ts';

// By require, so that the pino instrumentation, which patches CommonJS modules, sees it being loaded.
const { pino } = createRequire(import.meta.url)('pino') as typeof Pino;

/** Log with an object first, then a message: `logger.info({ lease_id }, 'lease expired')`. */
export type Logger = Pino.Logger;

export interface LoggerSettings {
  /** Short name of the service: `gateway`. */
  readonly service: string;
  /** Least severe level that is written; `info` unless told. */
  readonly level?: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';
  /** Where lines go; stdout unless told (tests keep them in memory). */
  readonly destination?: { write(line: string): void };
}

/**
 * Makes a service's logger. Writes synchronously, so that the last line before an exit is not lost. Each line names the trace and
 * what the work under way is about (`work-scope.ts`); what the line itself says comes first. Errors belong under `err`: code,
 * reason, message, stack and causes are written, the text of a server is not, its code is (`answer-code.ts`).
 */
export function createLogger({ service, level = 'info', destination }: LoggerSettings): Logger {
  const logger = pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      mixin: () => ({ ...traceFields(), ...workFields() }),
      // `formatters.log` has made plain objects of errors by the time serializers run.
      serializers: { err: (err: unknown) => err },
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => redactFields({ ...answerCode(fields['err']), ...fields }) as Record<string, unknown>,
      },
      hooks: { streamWrite: redactText },
    },
    destination ?? pino.destination({ fd: 1, sync: true }),
  );
  return withRedactedBindings(logger);
}

/** Pino formats the fields of each line, but not those that a child logger is made with. */
function withRedactedBindings(logger: Logger): Logger {
  // Pino's own types of these two are generic over custom levels, of which there are none.
  const untyped: object = logger;
  const child = Reflect.get(untyped, 'child') as (...args: unknown[]) => Logger;
  const setBindings = Reflect.get(untyped, 'setBindings') as (...args: unknown[]) => void;
  const redacting = {
    child(this: Logger, bindings: Pino.Bindings, options?: Pino.ChildLoggerOptions): Logger {
      return Reflect.apply(child, this, [redactFields(bindings), options]);
    },
    setBindings(this: Logger, bindings: Pino.Bindings): void {
      Reflect.apply(setBindings, this, [redactFields(bindings)]);
    },
  };
  // Children inherit from their parent, so this holds for theirs, too.
  return Object.assign(logger, redacting);
}

/** Names as in OpenTelemetry's "Trace Context in non-OTLP Log Formats". */
function traceFields(): Record<string, string> {
  const active = trace.getActiveSpan()?.spanContext();
  if (active === undefined || !isSpanContextValid(active)) return {};
  return {
    trace_id: active.traceId,
    span_id: active.spanId,
    trace_flags: active.traceFlags.toString(16).padStart(2, '0'),
  };
}
