/** The whole of Mayfly on one machine: Postgres, NATS, keys, identities and the five services, as child processes. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { serviceNames, type ServiceName } from '@mayfly/contracts';
import { topologyEnvironment } from '@mayfly/messaging';
import { lockDataFolder, type DataFolderLock } from './data-folder/data-folder-lock.ts';
import { keepDevelopmentIdentities } from './issuer/development-identities.ts';
import { openDevelopmentIssuer } from './issuer/development-issuer.ts';
import { generateKeys } from './keys/generate-keys.ts';
import { ensurePrivateFolder } from './keys/key-files.ts';
import {
  startPostgres,
  usePostgres,
  type OwnPostgres,
  type PostgresServer,
} from './postgres/start-postgres.ts';
import { freePort } from './processes/free-port.ts';
import {
  inheritedEnvironment,
  serviceEnvironment,
  type ServicePorts,
  type StackAddresses,
} from './service-environment.ts';
import { CleanUp } from './services/clean-up.ts';
import { openBus, prepareBus } from './services/prepare-bus.ts';
import { prepareDatabase, type DatabaseUrls } from './services/prepare-database.ts';
import { startService, type StackService } from './services/start-service.ts';
import { DEFAULT_DATABASE, DEFAULT_GATEWAY_PORT, type Stack, type StackOptions } from './stack-options.ts';

/**
 * Starts Mayfly and returns when every service is ready; what was started before a failure is ended again.
 * @throws DataFolderInUse, ProgramMissing, ProcessFailed, or Error with one sentence
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const cleanUp = new CleanUp();
  try {
    return await start(options, cleanUp);
  } catch (error) {
    await cleanUp.run().catch(() => undefined);
    throw error;
  }
}

async function start(given: StackOptions, cleanUp: CleanUp): Promise<Stack> {
  const dataDirectory = openDataDirectory(given.dataDirectory, cleanUp);
  const lock = await lockDataFolder(dataDirectory);
  cleanUp.add(() => {
    lock.release();
  });
  const parts = new RecordedProcesses(lock);
  // Everything that needs nothing of the others, at the same time.
  const starting = [
    openDatabase(given, dataDirectory, cleanUp, parts),
    openKeysAndBus(given, dataDirectory, cleanUp, parts),
    openIdentities(given, dataDirectory, cleanUp),
  ] as const;
  // A failure waits for the others, so that nothing is still starting when the clean-up runs.
  await Promise.allSettled(starting);
  const [database, bus, identities] = await Promise.all(starting);
  const prepared = await given.prepare?.({
    adminUrl: database.server.adminUrl,
    natsUrl: bus.nats.url,
    dataDirectory,
  });
  const options = { ...given, ...prepared };
  options.signal?.throwIfAborted();
  const checkpointFile = join(dataDirectory, 'checkpoints', 'checkpoints.jsonl');
  ensurePrivateFolder(join(dataDirectory, 'checkpoints'));
  const gatewayPort = await freePort(
    options.gatewayPort === 0 ? undefined : (options.gatewayPort ?? DEFAULT_GATEWAY_PORT),
  );
  const wantedPort = options.gatewayPort ?? DEFAULT_GATEWAY_PORT;
  if (wantedPort !== 0 && gatewayPort !== wantedPort) {
    options.log?.(`Port ${wantedPort} is taken: the gateway is on ${gatewayPort}.`);
  }
  const addresses: StackAddresses = {
    gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
    natsUrl: prepared?.servicesNatsUrl ?? bus.nats.url,
    natsCaFile: options.natsCaFile,
    natsSeedFile: bus.keys.natsSeedFile,
    postgresUrls: database.urls.services,
    keysFolder: bus.keys.folder,
    configFile: options.configFile === undefined ? undefined : resolve(options.configFile),
    checkpointFile,
  };
  const settled = { ...options, gatewayPort };
  const services = await startServices(settled, dataDirectory, cleanUp, parts, addresses);
  const replicas = replicaStarter(settled, dataDirectory, cleanUp, parts, addresses);
  return {
    gatewayUrl: addresses.gatewayUrl,
    dataDirectory,
    postgres: {
      adminUrl: database.server.adminUrl,
      databaseUrl: database.urls.admin,
      auditorUrl: database.urls.auditor,
      server: database.server,
    },
    natsUrl: bus.nats.url,
    nats: bus.nats,
    keysFolder: bus.keys.folder,
    issuer: identities.issuer,
    identityFiles: identities.files,
    checkpointFile,
    services,
    startReplica: replicas,
    changeTopology: async (topology) => {
      await prepareBus(bus.nats.url, options.natsCaFile, bus.keys, topology);
    },
    stop: () => cleanUp.run(),
  };
}

/** The data folder can be passed through by all (Postgres' user must), so what is secret in it is closed by itself. */
function openDataDirectory(given: string | undefined, cleanUp: CleanUp): string {
  if (given !== undefined) {
    mkdirSync(given, { recursive: true, mode: 0o711 });
    return resolve(given);
  }
  const temporary = mkdtempSync(join(tmpdir(), 'mayfly-'));
  chmodSync(temporary, 0o711);
  cleanUp.add(() => {
    rmSync(temporary, { recursive: true, force: true });
  });
  return temporary;
}

async function openDatabase(
  options: StackOptions,
  dataDirectory: string,
  cleanUp: CleanUp,
  parts: RecordedProcesses,
): Promise<{ server: PostgresServer | OwnPostgres; urls: DatabaseUrls }> {
  const server = await startOrUsePostgres(options, dataDirectory);
  cleanUp.add(() => server.stop());
  if ('process' in server) parts.add(() => server.process().identity);
  const urls = await prepareDatabase(server.adminUrl, options.database ?? DEFAULT_DATABASE, dataDirectory);
  return { server, urls };
}

async function startOrUsePostgres(
  options: StackOptions,
  dataDirectory: string,
): Promise<PostgresServer | OwnPostgres> {
  if (options.postgresUrl !== undefined) return usePostgres(options.postgresUrl);
  const { log = (line: string) => process.stderr.write(`${line}\n`), postgresSettings: settings = {} } =
    options;
  // The same port at every start, while it is free: people keep URLs.
  const portFile = join(dataDirectory, 'postgres-port');
  const preferredPort = readPort(portFile);
  const server = await startPostgres({
    dataDirectory: join(dataDirectory, 'postgres'),
    settings,
    log,
    ...(preferredPort === undefined ? {} : { preferredPort }),
    // A data folder of our own making goes with the stack, and so must what lies elsewhere on its behalf.
    removeOnStop: options.dataDirectory === undefined,
  });
  writeFileSync(portFile, `${server.port}\n`);
  return server;
}

function readPort(file: string): number | undefined {
  if (!existsSync(file)) return undefined;
  const port = Number(readFileSync(file, 'utf8'));
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

async function openKeysAndBus(
  options: StackOptions,
  dataDirectory: string,
  cleanUp: CleanUp,
  parts: RecordedProcesses,
) {
  const keys = await generateKeys(join(dataDirectory, 'keys'));
  const { natsUrl, natsCaFile } = options;
  const nats = await openBus({ dataDirectory: join(dataDirectory, 'nats'), natsUrl, natsCaFile }, keys);
  cleanUp.add(() => nats.stop());
  if ('process' in nats) parts.add(() => nats.process().identity);
  await prepareBus(nats.url, natsCaFile, keys, options.topology);
  return { keys, nats };
}

async function openIdentities(options: StackOptions, dataDirectory: string, cleanUp: CleanUp) {
  const { log = (line: string) => process.stderr.write(`${line}\n`) } = options;
  const issuer = await openDevelopmentIssuer(join(dataDirectory, 'issuer'));
  const identities = await keepDevelopmentIdentities(dataDirectory, issuer, (error) => {
    log(`The development identities could not be written: ${String(error)}`);
  });
  cleanUp.add(() => {
    identities.stop();
  });
  return { issuer, files: identities.files };
}

/** Options whose gateway port has been settled. */
type SettledOptions = StackOptions & { readonly gatewayPort: number };

async function startServices(
  options: SettledOptions,
  dataDirectory: string,
  cleanUp: CleanUp,
  parts: RecordedProcesses,
  addresses: StackAddresses,
): Promise<Record<ServiceName, StackService>> {
  const inherited = inheritedEnvironment(options.inheritFrom ?? process.env);
  const started: StackService[] = [];
  // All at once: they don't wait for each other.
  cleanUp.add(() => Promise.all(started.map((service) => service.stop())));
  const failed = new AbortController();
  const signal = AbortSignal.any([failed.signal, ...(options.signal === undefined ? [] : [options.signal])]);
  const starting = serviceNames.map(async (service) => {
    try {
      const running = await startOne(service, options, dataDirectory, parts, addresses, inherited, signal);
      started.push(running);
      return [service, running] as const;
    } catch (error) {
      // The others need not get ready any more; they end with the reason that came first.
      failed.abort(error);
      throw error;
    }
  });
  await Promise.allSettled(starting);
  return Object.fromEntries(await Promise.all(starting)) as Record<ServiceName, StackService>;
}

/** Further replicas of services that run: each has ports and a log file of its own and ends with the stack. */
function replicaStarter(
  options: SettledOptions,
  dataDirectory: string,
  cleanUp: CleanUp,
  parts: RecordedProcesses,
  addresses: StackAddresses,
): Stack['startReplica'] {
  const inherited = inheritedEnvironment(options.inheritFrom ?? process.env);
  const { signal = new AbortController().signal } = options;
  let started = 1;
  return async (service, more = {}) => {
    const name = `${service}-${String(++started)}`;
    const env = { ...options.env, [service]: { ...options.env?.[service], ...more } };
    const ports = await portsOf(service, undefined);
    const own = { ...options, env };
    const replica = await startOne(service, own, dataDirectory, parts, addresses, inherited, signal, {
      name,
      ports,
    });
    cleanUp.add(() => replica.stop());
    return replica;
  };
}

/** A free port for what each service tells of itself, and for a gateway one of its API. */
async function portsOf(service: ServiceName, api: number | undefined): Promise<ServicePorts> {
  const operations = await freePort();
  return service === 'gateway' ? { operations, api: api ?? (await freePort()) } : { operations };
}

async function startOne(
  service: ServiceName,
  options: SettledOptions,
  dataDirectory: string,
  parts: RecordedProcesses,
  addresses: StackAddresses,
  inherited: Readonly<Record<string, string>>,
  signal: AbortSignal,
  replica?: { readonly name: string; readonly ports: ServicePorts },
): Promise<StackService> {
  const { gatewayPort, onLine } = options;
  const ports = replica?.ports ?? (await portsOf(service, gatewayPort));
  const running = await startService({
    service,
    ports,
    env: {
      ...inherited,
      ...serviceEnvironment(service, ports, addresses),
      ...topologyEnvironment(options.topology ?? {}),
      ...(service === 'minting' ? options.mintingSecrets : {}),
      ...options.env?.[service],
    },
    logFile: join(dataDirectory, 'logs', `${replica?.name ?? service}.log`),
    onLine:
      onLine &&
      ((line) => {
        onLine(service, line);
      }),
    onRestarted: () => {
      parts.record();
    },
    signal,
  });
  parts.add(() => running.process().identity);
  return running;
}

type Identify = () => { readonly pid: number; readonly started: string };

/** Keeps the lock file's list of our processes true, for whoever cleans up after a kill. */
class RecordedProcesses {
  private readonly identities: Identify[] = [];

  constructor(private readonly lock: DataFolderLock) {}

  add(identify: Identify): void {
    this.identities.push(identify);
    this.record();
  }

  record(): void {
    this.lock.recordProcesses(this.identities.map((identify) => identify()));
  }
}
