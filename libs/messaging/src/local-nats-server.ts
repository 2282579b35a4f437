/**
 * A nats-server for this library's own specs; not exported. `@mayfly/stack` has a better one, but needs this library, so that a
 * spec here that used it would close a circle.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createUser } from '@nats-io/nkeys';
import { connect } from '@nats-io/transport-node';
import { natsPermissions } from './permissions.ts';
import type { NatsPermissions } from './permissions.ts';

export interface LocalNatsServer {
  url: string;
  /** The seed file of a user, when started with permissions. */
  seedFile(user: keyof ReturnType<typeof natsPermissions>): string;
  /** Kills it with SIGKILL and waits until it is gone; `restart` starts it on the same port and files. */
  kill(): Promise<void>;
  /** While it is dead: takes away all that it had stored of a stream, as a full disk or a loss of power does. */
  loseMessages(stream: string): void;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts nats-server on a free port with JetStream in a folder of its own; `enforced`: with one nkey user per service. */
export async function startNatsServer(options: { enforced?: boolean } = {}): Promise<LocalNatsServer> {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-messaging-'));
  const port = await freePort();
  const users = options.enforced === true ? writeUsers(folder) : '';
  const config = join(folder, 'nats.conf');
  writeFileSync(
    config,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${folder}", max_file_store: 8GB, max_memory_store: 64MB }\n${users}`,
  );
  let child = await start(config, port);
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  };
  return {
    url: `nats://127.0.0.1:${port}`,
    seedFile: (user) => join(folder, `${user}.nk`),
    kill,
    loseMessages: (stream) => {
      rmSync(join(folder, 'jetstream', '$G', 'streams', stream, 'msgs'), { recursive: true });
    },
    restart: async () => {
      child = await start(config, port);
    },
    stop: async () => {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function writeUsers(folder: string): string {
  const users = Object.entries(natsPermissions()).map(([name, permissions]) => {
    const user = createUser();
    writeFileSync(join(folder, `${name}.nk`), user.getSeed(), { mode: 0o600 });
    return `{ nkey: "${user.getPublicKey()}", permissions: ${render(permissions)} }`;
  });
  return `authorization { users: [\n${users.join('\n')}\n] }\n`;
}

function render({ publish, subscribe, allowResponses }: NatsPermissions): string {
  const list = (subjects: string[]) => `[${subjects.map((subject) => `"${subject}"`).join(', ')}]`;
  const responses = allowResponses ? ', allow_responses: { max: 1, ttl: "90s" }' : '';
  return `{ publish: { allow: ${list(publish)} }, subscribe: { allow: ${list(subscribe)} }${responses} }`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function start(config: string, port: number): Promise<ChildProcess> {
  const child = spawn(process.env['MAYFLY_NATS_SERVER'] ?? 'nats-server', ['--config', config], {
    stdio: 'ignore',
    env: { PATH: [process.env['PATH'], '/usr/local/sbin', '/usr/sbin'].join(delimiter) },
  });
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`nats-server exited with ${String(code)}`)));
  });
  failed.catch(() => undefined);
  await Promise.race([failed, waitUntil('nats-server', () => greets(port))]);
  return child;
}

/** Whether it talks to clients, admitted or not. */
async function greets(port: number): Promise<boolean> {
  try {
    await (await connect({ servers: `nats://127.0.0.1:${port}`, reconnect: false })).close();
    return true;
  } catch (error) {
    return /authorization/i.test(String(error));
  }
}

/** Polls until `condition` answers true; what it throws counts as not yet. Throws after `deadlineMs`. */
export async function waitUntil(
  what: string,
  condition: () => boolean | Promise<boolean>,
  options: { deadlineMs?: number } = {},
): Promise<void> {
  const deadlineMs = options.deadlineMs ?? 10_000;
  const end = Date.now() + deadlineMs;
  for (;;) {
    if (
      await Promise.resolve()
        .then(condition)
        .catch(() => false)
    )
      return;
    if (Date.now() > end) throw new Error(`${what} took longer than ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
