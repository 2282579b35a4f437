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
import { accountsConfig } from './accounts-config.ts';
import { busAccounts, logAccount } from './accounts.ts';
import type { BusUser } from './accounts.ts';

export interface LocalNatsServer {
  url: string;
  /** The seed file of a user, when started with permissions. */
  seedFile(user: BusUser): string;
  /** Kills it with SIGKILL and waits until it is gone; `restart` starts it on the same port and files. */
  kill(): Promise<void>;
  /** While it is dead: takes away all that it had stored of a stream, as a full disk or a loss of power does. */
  loseMessages(stream: string): void;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts nats-server on a free port with JetStream in a folder of its own; `enforced`: with an account and an nkey for each service. */
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
      rmSync(
        join(folder, 'jetstream', options.enforced === true ? logAccount : '$G', 'streams', stream, 'msgs'),
        { recursive: true },
      );
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
  const publicNkeys: Record<string, string> = {};
  for (const { user } of busAccounts()) {
    if (user === undefined) continue;
    const key = createUser();
    writeFileSync(join(folder, `${user.name}.nk`), key.getSeed(), { mode: 0o600 });
    publicNkeys[user.name] = key.getPublicKey();
  }
  return accountsConfig(publicNkeys);
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
