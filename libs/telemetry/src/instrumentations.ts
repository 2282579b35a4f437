/** The instrumentations that every service runs with, set so that no span carries a value that could be a secret. */
import { FastifyOtelInstrumentation } from '@fastify/otel';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import { PinoInstrumentation } from '@opentelemetry/instrumentation-pino';
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici';
import { canonicalAddress } from '@mayfly/contracts';
import { queryVerb, redactQueryText } from './query-text.ts';

/** Paths of probes and scrapes: every few seconds, and nothing to learn from. */
const silentPaths = new Set(['/healthz', '/readyz', '/metrics']);

/** `sendLogs`: also pass log lines (already redacted) to the OTel Logs SDK. */
export function createInstrumentations({ sendLogs }: { sendLogs: boolean }) {
  return [
    new HttpInstrumentation({
      ignoreIncomingRequestHook: ({ url }) => silentPaths.has(withoutQuery(url ?? '')),
      // Query strings are never recorded: agents and upstreams put tokens and signatures there.
      startIncomingSpanHook: (request) => ({
        ...('url' in request && request.url?.includes('?') === true ? { 'url.query': '[redacted]' } : {}),
        // By itself it believes what anybody writes into Forwarded and X-Forwarded-For. Who called is in the audit log.
        'client.address': canonicalAddress(request.socket?.remoteAddress ?? ''),
      }),
      startOutgoingSpanHook: ({ protocol, hostname, host, port, path }) => ({
        'url.full': `${protocol ?? 'http:'}//${hostname ?? host ?? 'localhost'}${port ? `:${port}` : ''}${withoutQuery(path ?? '/')}`,
      }),
    }),
    new UndiciInstrumentation({
      startSpanHook: ({ origin, path }) => ({
        'url.full': `${withoutUser(origin)}${withoutQuery(path)}`,
        ...(path.includes('?') ? { 'url.query': '[redacted]' } : {}),
      }),
    }),
    new PgInstrumentation({
      enhancedDatabaseReporting: false,
      // A poll that finds nothing is not a trace; work that has a trace shows its statements in it.
      requireParentSpan: true,
      // One more span for every query that takes a connection from the pool, and rarely of interest.
      ignoreConnectSpans: true,
      requestHook: (span, { query, connection }) => {
        span.setAttribute('db.query.text', redactQueryText(query.text));
        span.updateName(
          `pg.query:${query.name ?? queryVerb(query.text)} ${connection.database ?? ''}`.trimEnd(),
        );
      },
    }),
    // The logger adds trace ids by itself; this one only feeds the Logs SDK where the environment asks for it.
    new PinoInstrumentation({ disableLogCorrelation: true, disableLogSending: !sendLogs }),
    new FastifyOtelInstrumentation({
      registerOnInitialization: true,
      instrumentHooks: false,
      recordExceptions: false,
      ignorePaths: ({ url }) => silentPaths.has(withoutQuery(url)),
      requestHook: (span, request) => span.setAttribute('url.path', withoutQuery(request.url)),
    }),
  ];
}

function withoutQuery(url: string): string {
  const end = url.search(/[?#]/);
  return end < 0 ? url : url.slice(0, end);
}

function withoutUser(origin: string): string {
  return origin.replace(/\/\/[^/]*@/, '//');
}
