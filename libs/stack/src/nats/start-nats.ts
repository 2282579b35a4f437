/** A nats-server with JetStream as a child process. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findNatsServer } from '../programs/known-programs.ts';
import { freePort, releasePort } from '../processes/free-port.ts';
import { ProcessFailed, startProcess, type RunningProcess } from '../processes/start-process.ts';
import { adoptStreams } from './adopt-streams.ts';
import { natsServerConfig, type NatsServerConfigOptions } from './nats-server-config.ts';

/** How to run nats-server. */
export interface NatsOptions {
  /** Holds the configuration, JetStream's files and the log; default a folder that `stop` removes. */
  readonly dataDirectory?: string;
  readonly preferredPort?: number;
  /** The public nkey of every user of the bus; without them everybody may do everything. */
  readonly nkeys?: NatsServerConfigOptions['nkeys'];
  /** The program; default `findNatsServer()`. */
  readonly program?: string;
}

/** A bus that can be used. */
export interface NatsServer {
  /** `nats://127.0.0.1:<port>`, without credentials. */
  readonly url: string;
  stop(): Promise<void>;
}

/** A nats-server that runs as our child. */
export interface OwnNats extends NatsServer {
  readonly port: number;
  /** The current process; another one after `restart`. */
  process(): RunningProcess;
  kill(signal: NodeJS.Signals): void;
  /** Starts it again on the same port and files after `kill` or `stop`. */
  restart(): Promise<void>;
}

const START_TRIES = 3;

/** Uses a bus that already runs. */
export function useNats(url: string): NatsServer {
  return { url, stop: () => Promise.resolve() };
}

/** Starts nats-server on 127.0.0.1. @throws ProcessFailed or ProgramMissing */
export async function startNats(options: NatsOptions = {}): Promise<OwnNats> {
  const program = options.program ?? findNatsServer();
  const directory = options.dataDirectory ?? mkdtempSync(join(tmpdir(), 'mayfly-nats-'));
  mkdirSync(join(directory, 'jetstream'), { recursive: true, mode: 0o700 });
  let port = await freePort(options.preferredPort);
  let server: RunningProcess;
  for (let attempt = 1; ; attempt++) {
    try {
      server = await startServer(program, directory, port, options.nkeys);
      break;
    } catch (error) {
      const said = error instanceof ProcessFailed ? error.lastLines.join('\n') : '';
      if (attempt < START_TRIES && said.includes('address already in use')) {
        port = await freePort();
        continue;
      }
      if (options.dataDirectory === undefined) rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }
  return {
    url: `nats://127.0.0.1:${String(port)}`,
    port,
    process: () => server,
    kill: (signal) => {
      server.kill(signal);
    },
    restart: async () => {
      await server.stop();
      server = await startServer(program, directory, port, options.nkeys);
    },
    stop: async () => {
      await server.stop();
      releasePort(port);
      if (options.dataDirectory === undefined) rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function startServer(
  program: string,
  directory: string,
  port: number,
  nkeys: NatsServerConfigOptions['nkeys'],
): Promise<RunningProcess> {
  const configFile = join(directory, 'nats-server.conf');
  const config = {
    port,
    storeDirectory: join(directory, 'jetstream'),
    ...(nkeys === undefined ? {} : { nkeys }),
  };
  writeFileSync(configFile, natsServerConfig(config), { mode: 0o600 });
  if (nkeys !== undefined) adoptStreams(config.storeDirectory);
  return startProcess({
    name: 'nats-server',
    command: program,
    args: ['--config', configFile],
    env: { PATH: process.env['PATH'] ?? '' },
    cwd: '/',
    logFile: join(directory, 'nats-server.log'),
    ready: () => greets(port),
  });
}

/** The server greets with INFO once it accepts clients, which is after JetStream is up. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(2_000, () => {
      done(false);
    });
    socket.once('data', (data) => {
      done(data.toString('latin1').startsWith('INFO '));
    });
    socket.once('error', () => {
      done(false);
    });
    socket.once('close', () => {
      done(false);
    });
  });
}
