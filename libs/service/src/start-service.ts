/**
 * How every service starts and stops. Start: bus, modules, NATS handlers and consumers, then the API where it has one, last the
 * operations listener. Stop: not ready any more, listeners closed, loops finished, telemetry flushed, bus drained.
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
  aboutWork,
  assertSupportedNode,
  createLogger,
  createMetrics,
  deadLetters,
  describeWork,
  NestLogger,
  peerAway,
  ready,
  rpcDuration,
  shutdownTelemetry,
  signalsLost,
  streamLag,
  topologyProblems as topologyProblemsGauge,
} from '@mayfly/telemetry';
import { keyFiles } from '@mayfly/tokens';
import { HostModule } from './host.module.ts';
import { listenForOperations, urlOf } from './operations-listener.ts';
import { Readiness } from './readiness.ts';
import type { ServiceHost } from './service-host.ts';
import type { ServiceSettings } from './settings.ts';
import { applyTestSettings } from './test-settings.ts';
import { TopologyWatch } from './topology-watch.ts';

export interface ServiceDefinition<Settings extends ServiceSettings> {
  readonly service: ServiceName;
  readonly settings: Settings;
  /** Most requests of the bus handled at once, vital ones beside them (`RpcServerOptions`). */
  readonly maxConcurrent?: number;
  /** Builds the service's own module. */
  readonly module: (host: ServiceHost) => DynamicModule | Promise<DynamicModule>;
  /** What it serves to the world over HTTP: the gateway's alone. The others only tell of themselves. */
  readonly api?: HttpApi;
}

export interface HttpApi {
  /** 0 takes any free one. */
  readonly port: number;
  readonly bind: string;
  readonly adapter: () => FastifyAdapter;
  /** Called before it listens: filters, hooks, the OpenAPI page. */
  readonly configure: (app: NestFastifyApplication, host: ServiceHost) => void;
}

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
  const peersAway = peerAway(metrics);
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
    client: new BusClient(connection, {
      onPresence: (peer, isAway) => {
        peersAway.set({ peer }, isAway ? 1 : 0);
        if (isAway) logger.warn({ peer }, `${peer} does not answer; what needs it is refused until it does`);
        else logger.info({ peer }, `${peer} answers again`);
      },
    }),
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
  const root = { module: class RootModule {}, imports: [HostModule.register(host), ownModule] };
  const app = await NestFactory.create<NestFastifyApplication>(
    root,
    definition.api?.adapter() ?? new FastifyAdapter(),
    { logger: new NestLogger(logger), abortOnError: false },
  );
  const durations = rpcDuration(metrics);
  const dead = deadLetters(metrics);
  app.connectMicroservice({
    strategy: new RpcServer({
      connection,
      service,
      logger,
      scope,
      onHandled: (operation, code, handledSeconds) => durations.observe({ operation, code }, handledSeconds),
      ...(definition.maxConcurrent === undefined ? {} : { maxConcurrent: definition.maxConcurrent }),
    }),
  });
  const eventServer = new JetStreamServer({
    connection,
    service,
    logger,
    scope,
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
  definition.api?.configure(app, host);
  await app.startAllMicroservices();
  // The server must know our subscriptions before anybody is told that we are here.
  await connection.flush();
  if (definition.api === undefined) await app.init();
  else await app.listen({ port: definition.api.port, host: definition.api.bind });
  const operations = await listenForOperations({
    port: settings.MAYFLY_OPERATIONS_PORT,
    bind: settings.MAYFLY_OPERATIONS_BIND,
    readiness,
    metrics,
  });
  stopOnSignals(async () => {
    readiness.stop();
    // A connection that is kept alive and becomes idle only now would hold up the stop until its client lets go.
    const server = app.getHttpServer();
    const idle = setInterval(() => server.closeIdleConnections(), 100);
    await app.close();
    clearInterval(idle);
    await connection.drain().catch(() => undefined);
    await shutdownTelemetry();
    // Last, so that whoever asks meanwhile hears that it is not ready.
    await operations.close();
  }, logger);
  const api = definition.api === undefined ? {} : { url: urlOf(app.getHttpServer(), definition.api.bind) };
  logger.info({ ...api, operations_url: operations.url, node: process.version }, 'listening');
}

/** What requests and events are about, for every log line of the work they cause. */
const scope = { about: aboutWork, describe: describeWork };

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
