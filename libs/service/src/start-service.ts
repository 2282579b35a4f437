/**
 * How every service starts and stops. Start: bus, modules, NATS handlers and consumers, then the HTTP listener. Stop:
 * not ready any more, listeners closed, loops finished, telemetry flushed, bus drained.
 */
import 'reflect-metadata';
import type { DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { ServiceName } from '@mayfly/contracts';
import {
  BusClient,
  connectBus,
  EventPublisher,
  isConnected,
  JetStreamServer,
  RpcServer,
  topologyOptionsOf,
  topologyProblems,
} from '@mayfly/messaging';
import {
  assertSupportedNode,
  createLogger,
  createMetrics,
  deadLetters,
  NestLogger,
  ready,
  rpcDuration,
  shutdownTelemetry,
  signalsLost,
  streamLag,
  topologyProblems as topologyProblemsGauge,
} from '@mayfly/telemetry';
import { keyFiles } from '@mayfly/tokens';
import { HostModule } from './host.module.ts';
import { Readiness } from './readiness.ts';
import type { ServiceHost } from './service-host.ts';
import type { ServiceSettings } from './settings.ts';
import { applyTestSettings } from './test-settings.ts';
import { TopologyWatch } from './topology-watch.ts';

export interface ServiceDefinition<Settings extends ServiceSettings> {
  readonly service: ServiceName;
  readonly settings: Settings;
  /** Builds the service's own module. */
  readonly module: (host: ServiceHost) => DynamicModule | Promise<DynamicModule>;
  /** The gateway brings its own; the others serve just health and metrics. */
  readonly httpAdapter?: () => FastifyAdapter;
  /** Called on the HTTP application before it listens: filters, hooks, the OpenAPI page. */
  readonly configureHttp?: (app: NestFastifyApplication, host: ServiceHost) => void | Promise<void>;
}

/** A request to health or metrics has no body to speak of. */
const healthBodyLimitBytes = 1024;

export async function startService<Settings extends ServiceSettings>(
  definition: ServiceDefinition<Settings>,
): Promise<void> {
  assertSupportedNode();
  const { service, settings } = definition;
  const logger = createLogger({ service, level: settings.MAYFLY_LOG_LEVEL });
  crashLoudly(logger);
  applyTestSettings(logger);
  const readiness = new Readiness();
  const metrics = createMetrics(service);
  const signalLosses = signalsLost(metrics);
  const connection = await connectBus({
    servers: settings.MAYFLY_NATS_URL.split(','),
    service,
    ...(settings.MAYFLY_NATS_SEED_FILE === undefined ? {} : { seedFile: settings.MAYFLY_NATS_SEED_FILE }),
    ...(settings.MAYFLY_NATS_CA === undefined ? {} : { caFile: settings.MAYFLY_NATS_CA }),
  });
  void connection.closed().then((error) => {
    // The bus has refused this service for good, such as for a revoked key: a supervisor must see it end.
    if (error instanceof Error) endLoudly(logger, error);
  });
  const host: ServiceHost = {
    service,
    logger,
    metrics,
    connection,
    client: new BusClient(connection),
    publisher: new EventPublisher(connection, {
      service,
      onSignalLost: () => signalLosses.inc(),
      onSentAgain: (count, failed) => {
        logger.info(
          { count, failed },
          'the event log was away: what was published last has been sent once more',
        );
      },
    }),
    keys: keyFiles(settings.MAYFLY_KEYS),
    addReadinessCheck: (name, check) => readiness.add(name, check),
  };
  readiness.add('nats', () => Promise.resolve(isConnected(connection)));
  const topologyGauge = topologyProblemsGauge(metrics);
  const topology = new TopologyWatch({
    look: () => topologyProblems(connection, service, topologyOptionsOf(settings)),
    logger,
    onLook: (problems) => {
      topologyGauge.reset();
      for (const { object, kind } of problems) topologyGauge.set({ object, kind }, 1);
    },
  });
  readiness.add('streams', () => topology.isReady());
  // Told at the start, and not only when somebody asks whether the service is ready.
  void topology.isReady();

  const ownModule = await definition.module(host);
  const root = { module: class RootModule {}, imports: [HostModule.register(host, readiness), ownModule] };
  const app = await NestFactory.create<NestFastifyApplication>(
    root,
    definition.httpAdapter?.() ?? new FastifyAdapter({ bodyLimit: healthBodyLimitBytes }),
    { logger: new NestLogger(logger), abortOnError: false },
  );
  const durations = rpcDuration(metrics);
  const dead = deadLetters(metrics);
  app.connectMicroservice({
    strategy: new RpcServer({
      connection,
      service,
      logger,
      onHandled: (operation, code, handledSeconds) => durations.observe({ operation, code }, handledSeconds),
    }),
  });
  const eventServer = new JetStreamServer({
    connection,
    service,
    logger,
    onDeadLetter: (consumer) => dead.inc({ consumer }),
    onGap: (_consumer, count) => signalLosses.inc(count),
  });
  app.connectMicroservice({ strategy: eventServer });
  streamLag(metrics, async (gauge) => {
    // A scrape without NATS keeps the last values.
    const lags = await eventServer.lag().catch(() => []);
    for (const { messages, ...labels } of lags) gauge.set(labels, messages);
  });
  ready(metrics, async (gauge) => {
    const { checks } = await readiness.check();
    for (const [check, ok] of Object.entries(checks)) gauge.set({ check }, ok ? 1 : 0);
  });
  await definition.configureHttp?.(app, host);
  await app.startAllMicroservices();
  // The server must know our subscriptions before anybody is told that we are here.
  await connection.flush();
  await app.listen({ port: settings.MAYFLY_SERVICE_PORT, host: settings.MAYFLY_BIND });
  stopOnSignals(async () => {
    readiness.stop();
    // A connection that is kept alive and becomes idle only now would hold up the stop until its client lets go.
    const server = app.getHttpServer();
    const idle = setInterval(() => server.closeIdleConnections(), 100);
    await app.close();
    clearInterval(idle);
    await connection.drain().catch(() => undefined);
    await shutdownTelemetry();
  }, logger);
  logger.info({ url: addressOf(app, settings.MAYFLY_BIND), node: process.version }, 'listening');
}

function addressOf(app: NestFastifyApplication, host: string): string {
  const address = app.getHttpServer().address();
  return typeof address === 'object' && address !== null ? `http://${host}:${address.port}` : String(address);
}

interface ExitLogger {
  info(message: string): void;
  fatal(fields: object, message: string): void;
}

/** After what nobody caught the state is unknown: say it and end; the supervisor starts anew. */
function crashLoudly(logger: ExitLogger): void {
  process.on('uncaughtException', (error) => endLoudly(logger, error));
  process.on('unhandledRejection', (error) => endLoudly(logger, error));
}

function endLoudly(logger: ExitLogger, error: unknown): void {
  logger.fatal({ err: error }, 'ending after an error that nobody handled');
  process.exit(1);
}

/**
 * Longest that an orderly stop may take before the process ends all the same, in milliseconds: a request under way may take
 * 20 s at a provider. Give it 30 s before killing.
 */
const stopDeadlineMs = 25_000;

function stopOnSignals(stop: () => Promise<void>, logger: ExitLogger): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) return;
    stopping = true;
    logger.info(`stopping on ${signal}`);
    setTimeout(() => process.exit(1), stopDeadlineMs).unref();
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.fatal({ err: error }, 'the stop failed');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
