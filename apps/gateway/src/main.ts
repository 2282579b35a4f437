/** The gateway: the edge of Mayfly. HTTP, admission, translation to the bus. */
import { loadSettings, startService } from '@mayfly/service';
import { cutConnections, openConnections, refusedRequests, type ConnectionCut } from '@mayfly/telemetry';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Admission } from './admission/admission.ts';
import { Edge, proxyIdleMs } from './edge/edge.ts';
import { GatewayModule } from './gateway.module.ts';
import { bodyLimitBytes, registerBodyParsers } from './http/body-parsers.ts';
import { answerFrameworkError, ErrorFilter } from './http/error-filter.ts';
import { openApiPath } from './http/known-paths.ts';
import { openApiDocument } from './openapi/openapi.ts';
import { GatewaySettings } from './settings.ts';
import { version } from './version.ts';

const settings = loadSettings(GatewaySettings);
const publicUrl = (
  settings.MAYFLY_PUBLIC_URL ?? `http://${settings.MAYFLY_BIND}:${settings.MAYFLY_SERVICE_PORT}`
).replace(/\/$/, '');
const admission = new Admission(settings);
let countCut: (cause: ConnectionCut) => void = () => undefined;
const edge = new Edge(settings, admission, (cause) => countCut(cause));
// Left at its default of 60 s, Node would take the longer of the two as the limit of the whole request.
const headersTimeout = Math.min(settings.MAYFLY_HEADERS_TIMEOUT_MS, settings.MAYFLY_REQUEST_TIMEOUT_MS);

await startService({
  service: 'gateway',
  settings,
  module: (host) =>
    GatewayModule.register(
      host,
      admission,
      publicUrl,
      settings.MAYFLY_METRICS_CREDENTIAL_NAMES ? ['credential', 'outcome'] : ['outcome'],
    ),
  api: {
    port: settings.MAYFLY_SERVICE_PORT,
    bind: settings.MAYFLY_BIND,
    adapter: () => {
      const adapter = new FastifyAdapter({
        bodyLimit: bodyLimitBytes,
        requestTimeout: settings.MAYFLY_REQUEST_TIMEOUT_MS,
        keepAliveTimeout: Math.max(proxyIdleMs, settings.MAYFLY_IDLE_TIMEOUT_MS),
        http: {
          maxHeaderSize: 32_768,
          headersTimeout,
          // Node looks for slow requests only this often (default 30 s), and closes none in between.
          connectionsCheckingInterval: Math.min(1_000, Math.ceil(headersTimeout / 4)),
        },
        // While it stops, what comes on a connection that is open is served as ever: Fastify's own refusal is no problem document.
        return503OnClosing: false,
        clientErrorHandler: (error, socket) => edge.refuseUnreadable(error, socket),
        frameworkErrors: answerFrameworkError,
        routerOptions: { maxParamLength: 256 },
      });
      registerBodyParsers(adapter);
      return adapter;
    },
    configure: (app, host) => {
      const fastify = app.getHttpAdapter().getInstance();
      const refused = refusedRequests(host.metrics);
      const cut = cutConnections(host.metrics);
      admission.onRefusal((cause) => refused.inc({ cause }));
      countCut = (cause) => cut.inc({ cause });
      openConnections(host.metrics, (gauge) => gauge.set(edge.openConnections));
      edge.register(fastify);
      app.useGlobalFilters(new ErrorFilter(host.logger));
      // Written once, so that however many ask for it and do not read it, it is in memory once.
      const document = Buffer.from(JSON.stringify(openApiDocument(publicUrl, version)));
      fastify.get(openApiPath, (_request, reply) =>
        reply.header('content-type', 'application/json; charset=utf-8').send(document),
      );
    },
  },
});
