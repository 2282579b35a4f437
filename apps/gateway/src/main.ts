/** The gateway: the edge of Mayfly. HTTP, admission, translation to the bus. */
import { loadSettings, startService } from '@mayfly/service';
import { refusedRequests } from '@mayfly/telemetry';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Admission } from './admission/admission.ts';
import { GatewayModule } from './gateway.module.ts';
import { documentLimitBytes, registerBodyParsers } from './http/body-parsers.ts';
import { answerClientError, answerFrameworkError, ErrorFilter } from './http/error-filter.ts';
import { openApiDocument } from './openapi/openapi.ts';
import { GatewaySettings } from './settings.ts';
import { version } from './version.ts';

const settings = loadSettings(GatewaySettings);
const publicUrl = (
  settings.MAYFLY_PUBLIC_URL ?? `http://${settings.MAYFLY_BIND}:${settings.MAYFLY_SERVICE_PORT}`
).replace(/\/$/, '');
const admission = new Admission(settings);

await startService({
  service: 'gateway',
  settings,
  module: (host) => GatewayModule.register(host, admission, publicUrl),
  httpAdapter: () => {
    const adapter = new FastifyAdapter({
      bodyLimit: documentLimitBytes,
      requestTimeout: settings.MAYFLY_REQUEST_TIMEOUT_MS,
      http: {
        maxHeaderSize: 32_768,
        // Left at its default of 60 s, Node would take the longer of the two as the limit of the whole request.
        headersTimeout: settings.MAYFLY_REQUEST_TIMEOUT_MS,
        // Node looks for slow requests only this often (default 30 s), and closes none in between.
        connectionsCheckingInterval: Math.min(5_000, Math.ceil(settings.MAYFLY_REQUEST_TIMEOUT_MS / 4)),
      },
      // While it stops, what comes on a connection that is open is served as ever: Fastify's own refusal is no problem document.
      return503OnClosing: false,
      clientErrorHandler: answerClientError,
      frameworkErrors: answerFrameworkError,
      routerOptions: { maxParamLength: 256 },
      ...(settings.MAYFLY_TRUSTED_PROXIES === undefined
        ? {}
        : { trustProxy: settings.MAYFLY_TRUSTED_PROXIES.split(',') }),
    });
    registerBodyParsers(adapter);
    return adapter;
  },
  configureHttp: (app, host) => {
    const fastify = app.getHttpAdapter().getInstance();
    const refused = refusedRequests(host.metrics);
    admission.register(fastify, (cause) => refused.inc({ cause }));
    app.useGlobalFilters(new ErrorFilter(host.logger));
    const document = openApiDocument(publicUrl, version);
    fastify.get('/openapi.json', (_request, reply) => reply.send(document));
  },
});
