/** One of Mayfly's services as a child process that can be killed and started again. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ServiceName } from '@mayfly/contracts';
import { startProcess, type ProcessExit, type RunningProcess } from '../processes/start-process.ts';
import type { ServicePorts } from '../service-environment.ts';

/** How to run a service. */
export interface ServiceOptions {
  readonly service: ServiceName;
  readonly ports: ServicePorts;
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly logFile: string;
  readonly onLine?: ((line: string) => void) | undefined;
  /** Called when it has another process. */
  readonly onRestarted?: () => void;
  /** Gives up the first start; its reason is thrown. */
  readonly signal?: AbortSignal;
}

/** A service that runs as our child. */
export interface StackService {
  /** Of the current process. */
  readonly pid: number;
  /** `http://127.0.0.1:<port>` of its operations listener: `/healthz`, `/readyz`, `/metrics`. The same after a restart. */
  readonly url: string;
  /** The same of the API that it serves; of a gateway alone. */
  readonly apiUrl: string | undefined;
  readonly logFile: string;
  process(): RunningProcess;
  stop(): Promise<ProcessExit>;
  /** Sends a signal (default SIGKILL) and, for SIGKILL, waits until the process is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again, ending it first when it runs; `env` is set over what it had. Returns when it is ready. */
  restart(env?: Readonly<Record<string, string>>): Promise<void>;
}

/**
 * V8 lets the space of young objects grow from 1 to 32 MB as it sees fit, twice, which looks like a leak in a service that keeps
 * nothing. At 16 MB it stays what it is. The same in `deploy/compose/compose.yaml`.
 */
const steadyNewSpace = ['--min-semi-space-size=16', '--max-semi-space-size=16'];

/** Starts a service and waits for its /readyz. @throws ProcessFailed with its last lines */
export async function startService(options: ServiceOptions): Promise<StackService> {
  const { service, ports, logFile, onRestarted = () => undefined } = options;
  const root = repositoryRoot();
  const url = `http://127.0.0.1:${String(ports.operations)}`;
  let { env } = options;
  const start = (signal?: AbortSignal): Promise<RunningProcess> =>
    startProcess({
      name: service,
      command: process.execPath,
      args: [
        '--enable-source-maps',
        ...steadyNewSpace,
        '--import',
        join(root, 'libs', 'telemetry', 'dist', 'register.js'),
        join(root, 'apps', service, 'dist', 'main.js'),
      ],
      env,
      cwd: root,
      logFile,
      onLine: options.onLine,
      ready: () => isReady(url),
      // A service gives itself 15 s to finish what it is doing.
      stopDeadlineMs: 20_000,
      signal,
    });
  let current = await start(options.signal);
  return {
    get pid() {
      return current.pid;
    },
    url,
    apiUrl: ports.api === undefined ? undefined : `http://127.0.0.1:${String(ports.api)}`,
    logFile,
    process: () => current,
    stop: () => current.stop(),
    kill: async (signal = 'SIGKILL') => {
      current.kill(signal);
      if (signal === 'SIGKILL') await current.exited;
    },
    restart: async (more = {}) => {
      await current.stop();
      env = { ...env, ...more };
      current = await start();
      onRestarted();
    },
  };
}

/** Whether `/readyz` answers 200 within a second. */
async function isReady(url: string): Promise<boolean> {
  const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(1_000) });
  await response.body?.cancel();
  return response.ok;
}

/** The folder of the workspace: the nearest one above whose package.json is Mayfly's own. */
export function repositoryRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (
      existsSync(manifest) &&
      (JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string }).name === 'mayfly'
    )
      return folder;
    if (dirname(folder) === folder) throw new Error('The folder of the Mayfly workspace was not found.');
  }
}
